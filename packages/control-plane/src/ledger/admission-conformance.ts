import { describe, expect, it } from 'vitest';
import type { LedgerWorld } from './world-conformance.js';

/** What budgets hold back: one project's own work, however much of it there is. */
export function admissionConformance(world: () => LedgerWorld): void {
  const offered = async (limit = 1_000): Promise<string[]> => {
    const shards = await world().ledger.takeOffers({
      staleBeforeMs: world().nowMs + 1,
      limit,
      nowMs: world().nowMs,
    });
    return [...new Set(shards.map(({ jobId }) => jobId))];
  };
  const limit = (change: { maxRunningJobs?: number | null; maxQueuedTokens?: number | null }) =>
    world().ledger.setProjectLimits({ projectId: world().project, change });
  const jobs = async (count: number, options: { priority?: 'high' | 'normal' | 'low' } = {}) => {
    const made: string[] = [];
    for (let index = 0; index < count; index += 1) {
      world().nowMs += 1;
      made.push((await world().job({ shards: [2], ...options })).id);
    }
    return made;
  };

  describe('budgets of a project', () => {
    it('let in one job after the other, as those before it end', async () => {
      await limit({ maxRunningJobs: 1 });
      const [first, second] = await jobs(3);
      expect(await offered()).toEqual([first]);
      await world().runAll({ id: first ?? '' });
      expect(await offered()).toEqual([second]);
    });

    it('let the more urgent in, and hold the others back again', async () => {
      await limit({ maxRunningJobs: 1 });
      const [normal] = await jobs(1);
      expect(await offered()).toEqual([normal]);
      const [high] = await jobs(1, { priority: 'high' });
      expect(await offered()).toEqual([high]);
    });

    it('hold nothing back any more once they are lifted', async () => {
      await limit({ maxRunningJobs: 1 });
      const made = await jobs(4);
      expect(await offered()).toHaveLength(1);
      await limit({ maxRunningJobs: null });
      expect((await offered()).toSorted()).toEqual(made.toSorted());
    });

    it('hold back by tokens what does not fit beside the others', async () => {
      await limit({ maxQueuedTokens: 1 });
      const [first, second] = await jobs(3);
      expect(await offered()).toEqual([first]);
      expect((await world().ledger.budgetOf({ jobId: second ?? '' }))?.budget).toBe('queued_tokens');
    });

    it('say of every job that waits which budget it waits for, however many do', async () => {
      await limit({ maxRunningJobs: 2 });
      const made = await jobs(5);
      await offered();
      const budgets: (string | null)[] = [];
      for (const jobId of made) budgets.push((await world().ledger.budgetOf({ jobId }))?.budget ?? null);
      expect(budgets).toEqual([null, null, 'running_jobs', 'running_jobs', 'running_jobs']);
    });

    it('leave what they hold back out of the load of its lane, and say that something waits', async () => {
      const { ledger } = world();
      const loads = () => ledger.laneLoads({ models: ['model-a'] });
      expect(await loads()).toEqual({ lanes: [], waitForBudget: false });
      await limit({ maxRunningJobs: 1 });
      await jobs(3);
      await offered();
      const lane = { model: 'model-a', priority: 'normal', readyShards: 1, readyItems: 2, offeredShards: 1 };
      expect(await loads()).toEqual({ lanes: [lane], waitForBudget: true });
    });

    it('are no matter of other projects', async () => {
      await limit({ maxRunningJobs: 1 });
      const [first] = await jobs(3);
      const other = await world().job({ shards: [2], projectId: 'proj_two' });
      expect((await offered()).toSorted()).toEqual([first, other.id].toSorted());
    });
  });

  it('of a project’s next shards no more are read than may be offered, of each model', async () => {
    const { ledger } = world();
    await world().job({ shards: [1, 1], model: 'model-b' });
    for (let index = 0; index < 6; index += 1) {
      world().nowMs += 1;
      await world().job({ shards: [1, 1, 1] });
    }
    let seen = 0;
    await ledger.takeOffers({
      staleBeforeMs: 0,
      limit: 4,
      nowMs: world().nowMs,
      pick: (queues) => {
        seen = queues.reduce((sum, { shards }) => sum + shards.length, 0);
        return [];
      },
    });
    expect(seen).toBe(4 + 2);
  });
}
