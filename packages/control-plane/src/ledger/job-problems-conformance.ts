import { describe, expect, it } from 'vitest';
import type { JobProblem, JobRecord } from '../ports/records.js';
import type { LedgerWorld } from './world-conformance.js';
import { NO_OUTPUT, shardsOf } from './world-conformance.js';

/** Jobs that cannot be planned or finalized. */
export function jobProblemsConformance(world: () => LedgerWorld): void {
  const fails = (job: JobRecord, code: JobProblem['code'], own: boolean, owner = 'a') =>
    world().ledger.recordProblem({
      jobId: job.id,
      owner,
      code,
      message: 'why',
      own,
      retryAtMs: world().nowMs + 5_000,
      nowMs: world().nowMs,
    });
  const claim = (owner: string) =>
    world().ledger.claimFinalization({ owner, claimMs: 1_000, nowMs: world().nowMs });
  const unplanned = (projectId?: string, items = 4) =>
    world().job({
      shards: [items],
      isPlanned: false,
      ...(projectId === undefined ? {} : { projectId }),
    });
  const waiting = async (small = true) =>
    (
      await world().ledger.listUnplanned({
        createdBeforeMs: world().nowMs + 1,
        small,
        limit: 3,
        nowMs: world().nowMs,
      })
    ).map(({ id }) => id);
  async function finalizing(): Promise<JobRecord> {
    const job = await world().job({ shards: [2] });
    await world().runAll(job);
    return job;
  }

  describe('a job that cannot be finalized', () => {
    it('says since when, how often and why, and is left alone until its time has come', async () => {
      const job = await finalizing();
      const other = await finalizing();
      await claim('a');
      const sinceMs = world().nowMs;
      expect(await fails(job, 'finalize_failed', true)).toMatchObject({ tries: 1, ownTries: 1, sinceMs });
      expect((await claim('b'))?.id).toBe(other.id);
      expect(await claim('c')).toBeNull();
      world().nowMs += 5_000;
      await claim('c');
      expect(await fails(job, 'finalize_failed', false, 'c')).toEqual({
        code: 'finalize_failed',
        message: 'why',
        sinceMs,
        tries: 2,
        ownTries: 1,
      });
      const shown = await world().current(job);
      expect(shown.problem).toMatchObject({ tries: 2, sinceMs });
      world().nowMs += 5_000;
      expect(await world().finish(job, 'succeeded')).toMatchObject({ problem: null, giveUpAtMs: null });
    });

    it('is nothing to who has lost the claim, or who is late', async () => {
      const job = await finalizing();
      await claim('a');
      expect(await fails(job, 'finalize_failed', true, 'b')).toBeNull();
      expect(await fails(job, 'plan_failed', true)).toBeNull();
      await world().ledger.abandonFinalization({ jobId: job.id, owner: 'a' });
      await world().finish(job, 'succeeded');
      expect(await fails(job, 'finalize_failed', true)).toBeNull();
    });

    it('is given up by its owner alone, with an entry that says why and every item counted', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [3] });
      const shard = await world().claimNext(job);
      await world().settle(shard, [0, 1], [1]);
      await world().stop(job);
      await ledger.releaseShard({ shardId: shard.id, epoch: shard.epoch, nowMs: world().nowMs });
      expect(await claim('a')).not.toBeNull();
      const error = { line: null, param: null, code: 'finalize_failed', message: 'An object is missing.' };
      const end = { jobId: job.id, state: 'failed', error, nowMs: world().nowMs } as const;
      expect(await ledger.giveUpJob({ ...end, owner: 'b' })).toBe(false);
      expect(await ledger.giveUpJob({ ...end, owner: 'a' })).toBe(true);
      expect(await world().current(job)).toMatchObject({
        state: 'failed',
        inputErrors: [error],
        succeeded: 1,
        failed: 1,
        cancelled: 1,
        outputFileId: null,
        finishedAtMs: world().nowMs,
        problem: null,
      });
      expect(await ledger.finishJob({ ...end, owner: 'a', cancelled: 1, expired: 0, ...NO_OUTPUT })).toBe(
        false,
      );
    });

    it('is tried again at once when it is cancelled, and remembers that', async () => {
      const job = await finalizing();
      expect(await world().stop(job)).toMatchObject({ job: { state: 'finalizing', giveUpAtMs: null } });
      await claim('a');
      await fails(job, 'finalize_failed', false);
      expect(await claim('b')).toBeNull();
      const stopped = await world().stop(job);
      expect(stopped).toMatchObject({ outcome: 'stopping', job: { giveUpAtMs: world().nowMs } });
      expect(await claim('b')).toMatchObject({ id: job.id, giveUpAtMs: world().nowMs });
    });
  });

  describe('jobs that wait for their plan', () => {
    it('are listed in turn over projects, small and large ones apart', async () => {
      const first = await unplanned('proj_one');
      world().nowMs += 1;
      const second = await unplanned('proj_one');
      world().nowMs += 1;
      const other = await unplanned('proj_two');
      const large = await unplanned('proj_one', 600);
      expect(await waiting()).toEqual([first.id, other.id, second.id]);
      expect(await waiting(false)).toEqual([large.id]);
    });

    it('leave out those that somebody plans, and those that failed a moment ago', async () => {
      const { ledger } = world();
      const job = await unplanned();
      const { nowMs } = world();
      expect(await ledger.claimPlanning({ jobId: job.id, owner: 'a', claimMs: 1_000, nowMs })).toBe(true);
      expect(await waiting()).toEqual([]);
      expect(await fails(job, 'plan_failed', true, 'b')).toBeNull();
      expect(await fails(job, 'plan_failed', true)).toMatchObject({ code: 'plan_failed', tries: 1 });
      expect(await waiting()).toEqual([]);
      world().nowMs += 5_000;
      expect(await waiting()).toEqual([job.id]);
      const plan = { jobId: job.id, shards: shardsOf([4]), models: [], nowMs };
      expect(await ledger.planJob(plan)).toBe(true);
      expect(await world().current(job)).toMatchObject({ state: 'queued', problem: null });
    });

    it('are planned at once when they are cancelled meanwhile: their items need a place', async () => {
      const job = await unplanned();
      await fails(job, 'plan_failed', true);
      expect(await waiting()).toEqual([]);
      await world().stop(job);
      expect(await waiting()).toEqual([job.id]);
    });
  });

  it('keeps a temporary object while somebody reads it', async () => {
    const { ledger } = world();
    const key = 'proj_one/temporary/work_1';
    expect(await ledger.isBlobReferenced({ key })).toBe(false);
    await ledger.keepTemporary({ key, untilMs: 10 });
    await ledger.keepTemporary({ key, untilMs: 20 });
    await ledger.forgetTemporary({ nowMs: 19 });
    expect(await ledger.isBlobReferenced({ key })).toBe(true);
    await ledger.forgetTemporary({ nowMs: 20 });
    expect(await ledger.isBlobReferenced({ key })).toBe(false);
    await ledger.keepTemporary({ key, untilMs: 30 });
    await ledger.releaseTemporary({ key });
    expect(await ledger.isBlobReferenced({ key })).toBe(false);
  });
}
