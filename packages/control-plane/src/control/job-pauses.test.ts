import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openUseCases, reportOf, type UseCases } from '../use-cases-fixture.js';
import { JobPauses } from './job-pauses.js';

let cases: UseCases;
let pauses: JobPauses;

beforeEach(async () => {
  cases = await openUseCases();
  pauses = new JobPauses(cases.ledger, cases.clock, cases.signals);
});

afterEach(() => cases.close());

const offersOf = async (jobId: string) => {
  cases.recorder.offers.length = 0;
  await cases.dispatcher.tick();
  return cases.recorder.offers.filter((offer) => offer.job_id === jobId);
};

describe('a paused job', () => {
  it('is not offered, and its earlier offers are refused for good', async () => {
    const job = await cases.createJob({ items: 8, shardItems: 4 });
    const [offer] = await offersOf(job.id);
    if (!offer) throw new Error('nothing was offered');
    await pauses.pause('default', job.id);

    expect(await cases.claim.run({ runner_id: 'r', shard_id: offer.shard_id, epoch: offer.epoch })).toEqual({
      outcome: 'refused',
      reason: 'stale',
    });
    cases.clock.advance(cases.config.offerTtlMs + 1);
    expect(await offersOf(job.id)).toEqual([]);
  });

  it('is offered again at once when it is resumed, by its dialects’ names as well', async () => {
    const job = await cases.createJob({ items: 8, shardItems: 4 });
    await offersOf(job.id);
    await pauses.pause('default', job.id.replace('job_', 'batch_'));
    await pauses.resume('default', job.id.replace('job_', 'msgbatch_'));

    const offers = await offersOf(job.id);
    expect(offers).toHaveLength(2);
    for (const offer of offers) expect((await cases.take(offer)).count).toBe(4);
  });

  it('tells its holders to stop; what they hand over then counts, the rest is ready again', async () => {
    const job = await cases.createJob({ items: 4 });
    const [offer] = await offersOf(job.id);
    if (!offer) throw new Error('nothing was offered');
    const lease = await cases.take(offer);
    const pushed: string[] = [];
    cases.signals.on('job-paused', (jobId) => pushed.push(jobId));
    await pauses.pause('default', job.id);

    expect(pushed).toEqual([job.id]);
    const { leases } = await cases.renew.run({ ...reportOf('runner-1'), leases: [lease] });
    expect(leases).toMatchObject([{ status: 'stop' }]);
    expect(await cases.settleItems(lease, [0, 2])).toMatchObject({ accepted: 2, stop: true });
    await cases.release.run({ shardId: lease.shard_id, epoch: lease.epoch, reason: 'stopped' });
    expect(await cases.getJob(job)).toMatchObject({ state: 'running', succeeded: 2 });
    expect(await offersOf(job.id)).toEqual([]);

    await pauses.resume('default', job.id);
    const [again] = await offersOf(job.id);
    if (!again) throw new Error('nothing was offered');
    const second = await cases.take(again);
    expect(second.lost_leases).toBe(0);
    expect(await cases.settleItems(second, [0, 1, 2, 3])).toMatchObject({ accepted: 2, shard_done: true });
    expect(await cases.getJob(job)).toMatchObject({ state: 'finalizing', succeeded: 4 });
  });

  it('ends when its last items were settled all the same', async () => {
    const job = await cases.createJob({ items: 2 });
    const [offer] = await offersOf(job.id);
    if (!offer) throw new Error('nothing was offered');
    const lease = await cases.take(offer);
    await pauses.pause('default', job.id);
    expect(await cases.settleItems(lease, [0, 1])).toMatchObject({ shard_done: true });
    expect(await cases.getJob(job)).toMatchObject({ state: 'finalizing' });
  });

  it('can be cancelled, and expires at its time', async () => {
    const cancelled = await cases.createJob({ items: 2 });
    await pauses.pause('default', cancelled.id);
    const nowMs = cases.clock.nowMs();
    await cases.ledger.stopJob({ projectId: 'default', id: cancelled.id, reason: 'cancelled', nowMs });
    expect(await cases.getJob(cancelled)).toMatchObject({ state: 'finalizing', pausedAtMs: null });

    const expired = await cases.createJob({ items: 2, expiresInMs: 60_000 });
    await pauses.pause('default', expired.id);
    cases.clock.advance(60_001);
    await cases.sweep();
    expect(await cases.getJob(expired)).toMatchObject({ state: 'finalizing', endReason: 'expired' });
  });

  it('does not count as standing before others', async () => {
    const first = await cases.createJob({ items: 4 });
    cases.clock.advance(1);
    const second = await cases.createJob({ items: 4 });
    expect(await cases.ledger.queuePosition({ jobId: second.id })).toMatchObject({
      jobsAhead: 1,
      itemsAhead: 4,
    });
    await pauses.pause('default', first.id);
    expect(await cases.ledger.queuePosition({ jobId: second.id })).toMatchObject({
      jobsAhead: 0,
      itemsAhead: 0,
    });
  });
});

describe('pause and resume', () => {
  it('change nothing when there is nothing to change', async () => {
    const job = await cases.createJob({ items: 1 });
    const changed: string[] = [];
    cases.signals.on('job-changed', (jobId) => changed.push(jobId));
    await pauses.resume('default', job.id);
    const paused = await pauses.pause('default', job.id);
    expect((await pauses.pause('default', job.id)).version).toBe(paused.version);
    expect(changed).toEqual([job.id]);
  });

  it('know neither unknown jobs nor those of others, and refuse ended ones', async () => {
    const job = await cases.createJob({ items: 1 });
    await expect(pauses.pause('other', job.id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(pauses.resume('default', 'job_none')).rejects.toMatchObject({ code: 'not_found' });
    const nowMs = cases.clock.nowMs();
    await cases.ledger.stopJob({ projectId: null, id: job.id, reason: 'cancelled', nowMs });
    expect(await pauses.pause('default', job.id)).toMatchObject({ state: 'finalizing', pausedAtMs: null });
    const owner = 'me';
    await cases.ledger.claimFinalization({ jobId: job.id, owner, claimMs: 1_000, nowMs });
    const end = { jobId: job.id, owner, state: 'cancelled', cancelled: 1, expired: 0 } as const;
    await cases.ledger.finishJob({ ...end, outputFile: null, errorFile: null, nowMs });
    await expect(pauses.pause('default', job.id)).rejects.toMatchObject({ code: 'job_already_ended' });
  });
});
