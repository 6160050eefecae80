import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { JobViews } from '../jobs/job-views.js';
import { openUseCases, reportOf, type UseCases } from '../use-cases-fixture.js';
import { StallWatch } from './stall-watch.js';

let cases: UseCases;
let lines: { msg: string; jobId: string }[];
let watch: StallWatch;
let views: JobViews;

beforeEach(async () => {
  cases = await openUseCases();
  lines = [];
  const logger = pino({ level: 'info' }, { write: (text: string) => void lines.push(JSON.parse(text)) });
  views = new JobViews(cases.ledger, cases.clock, cases.publisher);
  watch = new StallWatch(cases.ledger, cases.clock, views, cases.metrics, logger);
});

afterEach(() => cases.close());

async function look(): Promise<string> {
  await cases.ledger.saveRunner({ report: reportOf('runner-1'), nowMs: cases.clock.nowMs() });
  await watch.tick();
  const text = await cases.metrics.text();
  return /^batch_infer_job_stalled (\d+)$/m.exec(text)?.[1] ?? '';
}

it('a running job that does not move is counted and logged once, until it moves again', async () => {
  const job = await cases.createJob({ items: 3 });
  await cases.dispatcher.tick();
  const [offer] = cases.recorder.offers;
  if (!offer) throw new Error('nothing was offered');
  const lease = await cases.take(offer);
  cases.clock.advance(60_000);
  expect(await look()).toBe('0');
  cases.clock.advance(1_000);
  expect(await look()).toBe('1');
  expect(await look()).toBe('1');
  expect(await views.of(await cases.getJob(job))).toMatchObject({
    queue: { waiting_for: [{ code: 'stalled' }] },
  });
  await cases.settleItems(lease, [0]);
  expect(await look()).toBe('0');
  expect(lines).toMatchObject([
    { msg: 'job stalled', jobId: job.id },
    { msg: 'job no longer stalled', jobId: job.id },
  ]);
});

it('a lease that has just begun is given its time, however long the job waited before', async () => {
  await cases.createJob({ items: 4, shardItems: 2 });
  await cases.dispatcher.tick();
  const [first, second] = cases.recorder.offers;
  if (!first || !second) throw new Error('too little was offered');
  await cases.settleItems(await cases.take(first), [0, 1]);
  cases.clock.advance(600_000);
  await cases.take(second);
  cases.clock.advance(30_000);
  expect(await look()).toBe('0');
});

it('a job that waits is told when it will have ended, from what the runners of its model get done', async () => {
  await cases.createJob({ items: 20 });
  cases.clock.advance(1);
  const job = await cases.createJob({ items: 10 });
  await cases.createJob({ items: 5, projectId: 'other' });
  const report = { ...reportOf('runner-1'), items_per_second: 2 };
  await cases.ledger.saveRunner({ report, nowMs: cases.clock.nowMs() });
  const view = await views.of(await cases.getJob(job));
  expect(view.queue.position).toBe(2);
  expect(view.progress.eta_seconds).toBe(((20 + 10) * 2) / 2);
});
