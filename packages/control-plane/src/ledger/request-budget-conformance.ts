import { describe, expect, it } from 'vitest';
import { SharedBucket } from '../rate-limits/shared-bucket.js';
import type { LedgerWorld } from './world-conformance.js';

const LIMIT = 120;
const STRICT = { overdraw: false };

/** The requests of a project, counted over all processes that share the ledger. */
export function requestBudgetConformance(world: () => LedgerWorld): void {
  const take = (spent: { wanted?: number; returned?: number; overdrawn?: number }) =>
    world().ledger.takeRequests({
      projectId: world().project,
      perMinute: LIMIT,
      wanted: 0,
      returned: 0,
      overdrawn: 0,
      ...spent,
      nowMs: world().nowMs,
    });
  const bucket = () =>
    new SharedBucket({ projectId: world().project, perMinute: LIMIT, ledger: world().ledger });

  describe('the requests of a project', () => {
    it('are granted until a minute’s worth is gone, and again as time passes', async () => {
      expect(await take({ wanted: 100 })).toEqual({ granted: 100, fullAtMs: world().nowMs + 50_000 });
      expect((await take({ wanted: 100 })).granted).toBe(20);
      expect((await take({ wanted: 1 })).granted).toBe(0);
      world().nowMs += 5_000;
      expect((await take({ wanted: 100 })).granted).toBe(10);
      expect((await take({ wanted: 10, returned: 4 })).granted).toBe(4);
      expect((await take({ overdrawn: 60 })).fullAtMs).toBe(world().nowMs + 90_000);
    });

    it('are each project’s own', async () => {
      await take({ wanted: LIMIT });
      const other = { projectId: 'proj_two', perMinute: LIMIT, returned: 0, overdrawn: 0 };
      expect(await world().ledger.takeRequests({ ...other, wanted: 5, nowMs: world().nowMs })).toMatchObject({
        granted: 5,
      });
    });

    it('are granted once, also to many that ask at the same moment', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => take({ wanted: 10 })));
      expect(answers.reduce((sum, { granted }) => sum + granted, 0)).toBe(LIMIT);
    });

    it('are limited for two processes together as for one', async () => {
      const processes = [bucket(), bucket()];
      const letThrough = async () => {
        let count = 0;
        for (let asked = 0; asked < 2 * LIMIT; asked += 1) {
          const state = await processes[asked % 2]?.take(world().nowMs, STRICT);
          if (state?.waitMs === 0) count += 1;
        }
        return count;
      };
      expect(await letThrough()).toBe(LIMIT);
      // What the minute gives back: ten seconds, twenty requests.
      world().nowMs += 10_000;
      expect(await letThrough()).toBe(20);
    });

    it('are limited for two processes that are asked at the same moment', async () => {
      const processes = [bucket(), bucket()];
      const states = await Promise.all(
        Array.from({ length: 3 * LIMIT }, (_, asked) => processes[asked % 2]?.take(world().nowMs, STRICT)),
      );
      expect(states.filter((state) => state?.waitMs === 0)).toHaveLength(LIMIT);
    });
  });

  it('a project’s use of its budgets is that of the jobs that may run', async () => {
    const { ledger, project } = world();
    const use = () => ledger.budgetUse({ projectId: project, nowMs: world().nowMs });
    expect(await use()).toEqual({ runningJobs: 0, queuedTokens: 0, settledTokens: 0 });
    const job = await world().job({ shards: [2] });
    world().nowMs += 1;
    await world().job({ shards: [2] });
    const both = await use();
    expect(both.runningJobs).toBe(2);
    await ledger.setProjectLimits({ projectId: project, change: { maxRunningJobs: 1 } });
    expect(await use()).toMatchObject({ runningJobs: 1, queuedTokens: both.queuedTokens / 2 });
    const shard = await world().claimNext(job);
    await world().settle(shard, [0]);
    const { settledTokens, queuedTokens } = await use();
    expect(settledTokens).toBeGreaterThan(0);
    expect(queuedTokens).toBeLessThan(both.queuedTokens / 2);
    world().nowMs += 60_001;
    expect((await use()).settledTokens).toBe(0);
  });
}
