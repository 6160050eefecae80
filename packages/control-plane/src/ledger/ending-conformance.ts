import { describe, expect, it } from 'vitest';
import type { ShardRecord } from '../ports/records.js';
import { LEASE_MS, type LedgerWorld, NO_OUTPUT, range } from './world-conformance.js';

/** Stopping jobs (I12), their error limit, and their end (I2). */
export function endingConformance(world: () => LedgerWorld): void {
  const advance = (graceMs: number) =>
    world().ledger.advanceStopping({ graceBeforeMs: world().nowMs - graceMs, nowMs: world().nowMs });

  describe('a job that is stopped', () => {
    it('I12: is finalizing at once when nothing is leased, and nothing of it starts', async () => {
      const job = await world().job({ shards: [2, 2] });
      await world().settleAll(await world().claimNext(job));
      const stopped = await world().stop(job);
      expect(stopped).toEqual({ outcome: 'stopping', job: await world().current(job) });
      expect(stopped?.job).toMatchObject({
        state: 'finalizing',
        endReason: 'cancelled',
        cancellingAtMs: world().nowMs,
        finalizingAtMs: world().nowMs,
      });
      expect((await world().shards(job)).map(({ state }) => state)).toEqual(['done', 'stopped']);
      expect(await world().finish(job, 'cancelled')).toMatchObject({ succeeded: 2, cancelled: 2 });
      expect(await world().stop(job)).toMatchObject({ outcome: 'ended', job: { state: 'cancelled' } });
    });

    it('waits for the last settles of its leases, and keeps them', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [2, 2, 2] });
      const first = await world().claimNext(job);
      const second = await world().claimNext(job);
      expect((await world().stop(job))?.job.state).toBe('cancelling');
      expect(await world().settle(first, [0])).toMatchObject({
        accepted: 1,
        stop: true,
        jobState: 'cancelling',
      });
      expect(await world().settle(first, [1])).toMatchObject({ shardDone: true, jobState: 'cancelling' });
      expect(await advance(10_000)).toEqual([]);
      await ledger.releaseShard({ shardId: second.id, epoch: second.epoch, nowMs: world().nowMs });
      expect((await ledger.getShard({ shardId: second.id }))?.state).toBe('stopped');
      expect((await world().current(job)).state).toBe('finalizing');
      expect(await world().finish(job, 'cancelled')).toMatchObject({ succeeded: 2, cancelled: 4 });
    });

    it('goes on when its last leased shard is settled whole', async () => {
      const job = await world().job({ shards: [2, 2] });
      const lease = await world().claimNext(job);
      await world().stop(job);
      expect(await world().settleAll(lease)).toMatchObject({ jobState: 'finalizing', shardDone: true });
      expect((await world().current(job)).endReason).toBe('cancelled');
    });

    it('goes on without runners that say nothing: after their lease, or after the grace, fenced', async () => {
      const lost = await world().job({ shards: [2] });
      const silent = await world().job({ shards: [2] });
      await world().claimNext(lost);
      const lease = await world().claimNext(silent);
      await world().stop(lost);
      await world().stop(silent);
      world().nowMs += 5_000;
      expect(await advance(5_001)).toEqual([]);
      expect((await advance(4_999)).toSorted()).toEqual([lost.id, silent.id].toSorted());
      expect(await world().settle(lease, [0])).toEqual({ outcome: 'lost' });
      expect(await world().finish(silent, 'cancelled')).toMatchObject({ cancelled: 2, succeeded: 0 });
    });

    it('goes on when the lease of a dead runner is over', async () => {
      const job = await world().job({ shards: [2] });
      await world().claimNext(job);
      await world().stop(job, 'expired');
      world().nowMs += LEASE_MS;
      await world().ledger.expireLeases({ nowMs: world().nowMs, limit: 10 });
      expect(await world().current(job)).toMatchObject({ state: 'finalizing', endReason: 'expired' });
      expect(await world().finish(job, 'expired')).toMatchObject({ expired: 2 });
    });

    it('keeps its first reason, and belongs to its project', async () => {
      const job = await world().job({ shards: [2] });
      await world().claimNext(job);
      const foreign = {
        projectId: 'proj_two',
        id: job.id,
        reason: 'cancelled',
        nowMs: world().nowMs,
      } as const;
      expect(await world().ledger.stopJob(foreign)).toBeNull();
      await world().stop(job, 'expired');
      const version = (await world().current(job)).version;
      expect(await world().ledger.stopJob({ ...foreign, projectId: null })).toMatchObject({
        outcome: 'stopping',
        job: { endReason: 'expired', version },
      });
    });

    it('loses no settle and starts nothing when stop, claims and settles race', async () => {
      const job = await world().job({ shards: range(0, 12).map(() => 2) });
      const leases: ShardRecord[] = [];
      for (const _ of range(0, 4)) leases.push(await world().claimNext(job));
      const ready = (await world().shards(job)).filter(({ state }) => state === 'ready');
      const [, ...answers] = await Promise.all([
        world().stop(job),
        ...leases.map((lease) => world().settleAll(lease)),
        ...ready.map((shard) =>
          world()
            .claim(shard)
            .catch(() => null),
        ),
      ]);
      expect(answers.slice(0, 4)).toMatchObject(leases.map(() => ({ outcome: 'settled', accepted: 2 })));
      const { state } = await world().current(job);
      const states = (await world().shards(job)).map((shard) => shard.state);
      expect(states).not.toContain('ready');
      expect(state).toBe(states.includes('leased') ? 'cancelling' : 'finalizing');
    });
  });

  describe('the completion window', () => {
    it('I13: names jobs that are past it by the ledger clock and not yet being stopped', async () => {
      const { ledger } = world();
      const at = (offsetMs: number) => ({ expiresAtMs: world().nowMs + offsetMs });
      const late = await world().job({ shards: [1], overrides: at(10) });
      const later = await world().job({ shards: [1], overrides: at(20) });
      await world().job({ shards: [1], overrides: at(31) });
      const stopped = await world().job({ shards: [1], overrides: at(5) });
      await world().stop(stopped);
      world().nowMs += 30;
      const expired = await ledger.listExpired({ nowMs: world().nowMs, limit: 10 });
      expect(expired.map(({ id }) => id)).toEqual([late.id, later.id]);
      expect(await ledger.listExpired({ nowMs: world().nowMs, limit: 1 })).toHaveLength(1);
    });
  });

  describe('max_error_rate', () => {
    const limited = () =>
      world().job({ shards: [20, 20, 20], overrides: { options: { max_error_rate: 0.1 } } });

    it('stops the job when more than that share of at least 20 ended items has failed', async () => {
      const job = await limited();
      const first = await world().claimNext(job);
      const second = await world().claimNext(job);
      expect(await world().settle(first, range(0, 19), range(0, 19))).toMatchObject({ stop: false });
      expect(await world().settle(first, [19])).toMatchObject({ stop: true, jobState: 'cancelling' });
      expect(await world().current(job)).toMatchObject({ endReason: 'error_limit', failed: 19 });
      await world().ledger.releaseShard({ shardId: second.id, epoch: second.epoch, nowMs: world().nowMs });
      expect(await world().finish(job, 'failed')).toMatchObject({ state: 'failed', cancelled: 40 });
    });

    it('lets a job run whose share is just at the limit', async () => {
      const job = await limited();
      await world().runAll(job, [0, 1, 20, 21, 40, 41]);
      expect(await world().current(job)).toMatchObject({
        state: 'finalizing',
        endReason: 'completed',
        failed: 6,
      });
    });
  });

  describe('finalizing', () => {
    const claim = (owner: string, jobId?: string) =>
      world().ledger.claimFinalization({
        owner,
        claimMs: 1_000,
        nowMs: world().nowMs,
        ...(jobId === undefined ? {} : { jobId }),
      });

    it('is claimed by one at a time, oldest first, and by another when the time is over', async () => {
      const job = await world().job({ shards: [1] });
      expect(await claim('a')).toBeNull();
      await world().runAll(job);
      world().nowMs += 1;
      const younger = await world().job({ shards: [1] });
      await world().runAll(younger);
      const claims = await Promise.all([claim('a'), claim('b'), claim('c'), claim('d')]);
      const taken = claims.flatMap((found) => (found === null ? [] : [found.id]));
      expect(taken.toSorted()).toEqual([job.id, younger.id].toSorted());
      world().nowMs += 999;
      expect(await claim('e', job.id)).toBeNull();
      world().nowMs += 1;
      expect(await claim('e')).toEqual(await world().current(job));
    });

    it('is extended by its owner, given up, and refused to one who lost it', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [1] });
      await world().runAll(job);
      await claim('a', job.id);
      world().nowMs += 900;
      expect(await claim('a')).toBeNull();
      expect(await claim('a', job.id)).not.toBeNull();
      world().nowMs += 900;
      expect(await claim('b', job.id)).toBeNull();
      await ledger.abandonFinalization({ jobId: job.id, owner: 'b' });
      expect(await claim('b', job.id)).toBeNull();
      await ledger.abandonFinalization({ jobId: job.id, owner: 'a' });
      expect(await claim('b', job.id)).not.toBeNull();
      const end = { jobId: job.id, state: 'succeeded', cancelled: 0, expired: 0, ...NO_OUTPUT } as const;
      expect(await ledger.finishJob({ ...end, owner: 'a', nowMs: world().nowMs })).toBe(false);
      expect((await world().current(job)).state).toBe('finalizing');
      expect(await ledger.finishJob({ ...end, owner: 'b', nowMs: world().nowMs })).toBe(true);
      expect(await ledger.finishJob({ ...end, owner: 'b', nowMs: world().nowMs })).toBe(false);
    });

    it('I2: ends the job together with its files, and only when every item is accounted for', async () => {
      const { ledger, project } = world();
      const job = await world().job({ shards: [3] });
      await world().settle(await world().claimNext(job), [0, 1], [1]);
      await world().stop(job);
      await advance(-1);
      await claim('a', job.id);
      const outputFile = world().fileRecord({ purpose: 'batch_output' });
      const errorFile = world().fileRecord({ purpose: 'batch_output' });
      const end = {
        jobId: job.id,
        owner: 'a',
        state: 'cancelled',
        outputFile,
        errorFile,
        nowMs: world().nowMs,
      } as const;
      await expect(ledger.finishJob({ ...end, cancelled: 2, expired: 0 })).rejects.toThrow('accounted for');
      expect(await ledger.getFile({ projectId: project, id: outputFile.id })).toBeNull();
      const version = (await world().current(job)).version;
      expect(await ledger.finishJob({ ...end, cancelled: 1, expired: 0 })).toBe(true);
      expect(await world().current(job)).toMatchObject({
        state: 'cancelled',
        succeeded: 1,
        failed: 1,
        cancelled: 1,
        outputFileId: outputFile.id,
        errorFileId: errorFile.id,
        finishedAtMs: world().nowMs,
        version: version + 1,
      });
      expect(await ledger.getFile({ projectId: project, id: errorFile.id })).toEqual(errorFile);
    });
  });
}
