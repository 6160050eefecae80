import { describe, expect, it } from 'vitest';
import { NO_LIMITS } from '../ports/project-limits.js';
import type { LedgerWorld } from './world-conformance.js';

/** Holding jobs back: paused ones, and those over a budget of their project. */
export function controlConformance(world: () => LedgerWorld): void {
  const setPaused = (job: { id: string }, paused: boolean) =>
    world().ledger.setPaused({ projectId: world().project, id: job.id, paused, nowMs: world().nowMs });
  const offeredJobs = async () => new Set((await world().offers(10)).map(({ jobId }) => jobId));

  describe('a paused job', () => {
    it('is neither offered nor claimed, and goes on at once when it is resumed', async () => {
      const job = await world().job({ shards: [1, 1] });
      const [offer] = await world().offers(1);
      if (offer === undefined) throw new Error('nothing was offered');
      expect(await setPaused(job, true)).toMatchObject({
        outcome: 'changed',
        job: { pausedAtMs: world().nowMs },
      });
      expect(await setPaused(job, true)).toMatchObject({ outcome: 'unchanged' });
      const claim = {
        shardId: offer.id,
        epoch: offer.epoch,
        runnerId: 'r',
        leaseMs: 1_000,
        nowMs: world().nowMs,
      };
      expect(await world().ledger.claimShard(claim)).toEqual({ outcome: 'refused', reason: 'stale' });
      expect((await offeredJobs()).size).toBe(0);
      await setPaused(job, false);
      expect(await world().offers(10)).toHaveLength(2);
      expect(await world().ledger.claimShard(claim)).toMatchObject({ outcome: 'claimed' });
    });

    it('keeps what was settled, and is left alone once it ends', async () => {
      const job = await world().job({ shards: [2] });
      const shard = await world().claimNext(job);
      await setPaused(job, true);
      expect(await world().settle(shard, [0])).toMatchObject({ accepted: 1, stop: true });
      expect(await world().settle(shard, [1])).toMatchObject({ jobState: 'finalizing' });
      expect(await setPaused(job, false)).toMatchObject({ outcome: 'ending' });
      await world().finish(job, 'succeeded');
      expect(await setPaused(job, true)).toMatchObject({ outcome: 'ended' });
      const foreign = { projectId: 'proj_two', id: job.id, paused: true, nowMs: 1 };
      expect(await world().ledger.setPaused(foreign)).toBeNull();
    });
  });

  describe('limits of a project', () => {
    it('are none, until they are set one by one', async () => {
      const { ledger, project } = world();
      expect(await ledger.getProjectLimits({ projectId: project })).toEqual(NO_LIMITS);
      await ledger.setProjectLimits({ projectId: project, change: { maxQueuedTokens: 5_000_000_000 } });
      await ledger.setProjectLimits({ projectId: project, change: { requestsPerMinute: 60 } });
      expect(await ledger.getProjectLimits({ projectId: project })).toEqual({
        ...NO_LIMITS,
        maxQueuedTokens: 5_000_000_000,
        requestsPerMinute: 60,
      });
      await ledger.setProjectLimits({ projectId: project, change: { requestsPerMinute: null } });
      expect((await ledger.getProjectLimits({ projectId: project })).requestsPerMinute).toBeNull();
    });

    it('hold jobs back that are over the budget, and say so', async () => {
      const { ledger, project } = world();
      const first = await world().job({ shards: [2] });
      world().nowMs += 1;
      const second = await world().job({ shards: [2] });
      const limits = await ledger.setProjectLimits({ projectId: project, change: { maxRunningJobs: 1 } });
      expect(await offeredJobs()).toEqual(new Set([first.id]));
      expect(await ledger.budgetOf({ jobId: first.id })).toBeNull();
      expect(await ledger.budgetOf({ jobId: second.id })).toEqual({ budget: 'running_jobs', limits });
      await setPaused(first, true);
      expect(await offeredJobs()).toEqual(new Set([second.id]));
    });
  });
}
