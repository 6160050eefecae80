import type { LaneProblem, OfferPublisher } from '@batch-infer/transport';
import { pino } from 'pino';
import { afterEach, expect, it } from 'vitest';
import { JobViews } from '../jobs/job-views.js';
import {
  type NewJob,
  openUseCases,
  RecordingPublisher,
  reportOf,
  type UseCases,
} from '../use-cases-fixture.js';
import { StallWatch } from './stall-watch.js';

/** Every way in which a job can stop, staged: within 30 seconds the metric, the view and the time are right. */

let cases: UseCases;
afterEach(() => cases.close());

class StagedTransport extends RecordingPublisher implements OfferPublisher {
  failing: LaneProblem[] = [];
  readonly lanes = {
    idleMs: null,
    prepare: async () => {},
    remove: async () => {},
    problems: () => this.failing,
  };
}

async function openStage() {
  const transport = new StagedTransport();
  cases = await openUseCases({ publisher: transport, served: [] });
  const views = new JobViews(cases.ledger, cases.clock, cases.publisher);
  const lines: { msg: string; jobId: string; code: string; times: number }[] = [];
  const logger = pino({ level: 'info' }, { write: (text: string) => void lines.push(JSON.parse(text)) });
  const watch = new StallWatch(cases.ledger, cases.clock, views, cases.metrics, logger);
  let report = reportOf('runner-1');
  const look = async (): Promise<void> => {
    await cases.ledger.saveRunner({ report, nowMs: cases.clock.nowMs() });
    await watch.tick();
  };
  return {
    transport,
    lines,
    look,
    serve: (fields: Partial<typeof report>) => {
      report = { ...reportOf('runner-1'), ...fields };
    },
    /** Half a minute passes, in looks of ten seconds. */
    passHalfAMinute: async () => {
      for (let seconds = 0; seconds < 30; seconds += 10) {
        cases.clock.advance(10_000);
        await look();
      }
    },
    create: async (fields: Partial<NewJob> = {}) => {
      const job = await cases.createJob({ items: 4, shardItems: 2, ...fields });
      return { job, sinceMs: cases.clock.nowMs() };
    },
    waiting: async (reason: string): Promise<{ jobs: number; oldest: number }> => {
      const text = await cases.metrics.text();
      const value = (name: string) =>
        Number(new RegExp(`^${name}\\{reason="${reason}"\\} ([\\d.]+)$`, 'm').exec(text)?.[1]);
      return {
        jobs: value('batch_infer_jobs_waiting'),
        oldest: value('batch_infer_job_oldest_waiting_seconds'),
      };
    },
    firstReason: async (job: Parameters<UseCases['getJob']>[0]) =>
      (await views.of(await cases.getJob(job))).queue.waiting_for[0],
  };
}

type Stage = Awaited<ReturnType<typeof openStage>>;

const engine = { id: 'engine-0', models: ['m'], healthy: true, window: 8, in_flight: 0, problem: null };

interface Staged {
  readonly job: Awaited<ReturnType<Stage['create']>>;
}

const STAGES: [name: string, code: string, arrange: (stage: Stage) => Promise<Staged>][] = [
  [
    'no runner serves its model',
    'no_runner_for_model',
    async ({ create }) => ({ job: await create({ model: 'nobody-serves-it' }) }),
  ],
  [
    'its engine is dead',
    'engine_unavailable',
    async ({ create, serve }) => {
      serve({ engines: [{ ...engine, healthy: false, problem: 'connection refused' }] });
      return { job: await create() };
    },
  ],
  [
    'the transport is down',
    'transport_down',
    async ({ create, transport }) => {
      transport.down = true;
      return { job: await create() };
    },
  ],
  [
    'its lane takes no offers',
    'transport_down',
    async ({ create, transport }) => {
      const job = await create();
      transport.failing = [
        { lane: 'normal/m', model: 'm', reason: 'no leader', sinceMs: job.sinceMs, waits: true },
      ];
      return { job };
    },
  ],
  [
    'it is paused',
    'paused',
    async ({ create }) => {
      const job = await create();
      const { id, projectId } = job.job;
      await cases.ledger.setPaused({ id, projectId, paused: true, nowMs: cases.clock.nowMs() });
      return { job };
    },
  ],
  [
    'its project has used up its budget',
    'budget',
    async ({ create }) => {
      await cases.ledger.setProjectLimits({ projectId: 'default', change: { maxRunningJobs: 1 } });
      await create({ priority: 'high' });
      const job = await create();
      await cases.ledger.takeOffers({ staleBeforeMs: 0, limit: 1, nowMs: cases.clock.nowMs() });
      return { job };
    },
  ],
  ['its planner hangs', 'planning', async ({ create }) => ({ job: await create({ isPlanned: false }) })],
  [
    'a segment of it is missing',
    'finalize_failed',
    async ({ create }) => {
      const job = await create({ items: 1 });
      await cases.dispatcher.tick();
      const [shard] = await cases.ledger.listShards({ jobId: job.job.id, fromOrdinal: 0, toOrdinal: 1 });
      if (shard === undefined) throw new Error('the job has no shard');
      await cases.settleItems(await cases.take({ shard_id: shard.id, epoch: shard.epoch }), [0]);
      const nowMs = cases.clock.nowMs();
      await cases.ledger.claimFinalization({ owner: 'one', claimMs: 1_000, nowMs, jobId: job.job.id });
      await cases.ledger.recordProblem({
        jobId: job.job.id,
        owner: 'one',
        code: 'finalize_failed',
        message: 'an object of its results is missing',
        own: true,
        retryAtMs: nowMs + 1e9,
        nowMs,
      });
      return { job };
    },
  ],
];

it.each(STAGES)('%s: %s, with its time', async (_, code, arrange) => {
  const stage = await openStage();
  await stage.look();
  const { job } = await arrange(stage);
  await stage.passHalfAMinute();
  const { jobs, oldest } = await stage.waiting(code);
  expect(jobs).toBe(1);
  expect(oldest).toBe(30);
  expect(await stage.firstReason(job.job)).toMatchObject({
    code,
    since: new Date(job.sinceMs).toISOString(),
  });
});

it('what cannot be finalized is told with its job at once, then each minute with how often', async () => {
  const stage = await openStage();
  const arrange = STAGES.find(([, code]) => code === 'finalize_failed')?.[2];
  const staged = await arrange?.(stage);
  for (let minute = 0; minute < 4; minute += 1) await stage.passHalfAMinute();
  const told = stage.lines.filter(({ msg }) => msg === 'job stalled');
  expect(told.map(({ jobId, code, times }) => [jobId, code, times])).toEqual([
    [staged?.job.job.id, 'finalize_failed', 1],
    [staged?.job.job.id, 'finalize_failed', 2],
  ]);
  expect(await cases.metrics.text()).toContain('batch_infer_job_stalled 1');
});

it('a tenant’s made-up models make no series, and hide nobody else’s stall', async () => {
  const stage = await openStage();
  for (let index = 0; index < 200; index += 1) await stage.create({ items: 1, model: `made-up-${index}` });
  const other = await stage.create({ projectId: 'other', model: 'gone' });
  await stage.passHalfAMinute();
  cases.clock.advance(40_000);
  await stage.look();
  const text = await cases.metrics.text();
  expect([...text.matchAll(/made-up/g)].length).toBeLessThanOrEqual(10);
  expect(stage.lines.map(({ jobId }) => jobId)).toContain(other.job.id);
});
