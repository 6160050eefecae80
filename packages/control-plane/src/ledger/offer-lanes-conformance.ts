import { expect, it } from 'vitest';
import type { LedgerWorld } from './world-conformance.js';

/** Lanes at a broker: what is wrong with them, and which nobody uses any more. */
export function offerLanesConformance(world: () => LedgerWorld): void {
  it('a lane has a problem since its first refusal, until offers arrive or nobody speaks of it', async () => {
    const { ledger } = world();
    const record = (lane: string, problem: string | null) =>
      ledger.recordLanes({ lanes: [{ lane, model: 'm', problem }], nowMs: world().nowMs });
    const problems = (seenAfterMs = 0) => ledger.listLaneProblems({ seenAfterMs, limit: 10 });
    const sinceMs = world().nowMs;
    await record('normal/m', 'away');
    await record('high/m', null);
    world().nowMs += 1_000;
    await record('normal/m', 'still away');
    expect(await problems()).toEqual([{ lane: 'normal/m', model: 'm', reason: 'still away', sinceMs }]);
    expect(await problems(world().nowMs + 1)).toEqual([]);
    await record('normal/m', null);
    expect(await problems()).toEqual([]);
  });

  it('a model is idle when none of its lanes had offers for long', async () => {
    const { ledger } = world();
    const use = (lane: string, model: string) =>
      ledger.recordLanes({ lanes: [{ lane, model, problem: null }], nowMs: world().nowMs });
    const idle = (usedBeforeMs: number) => ledger.listIdleLanes({ usedBeforeMs, limit: 10 });
    await use('high/a', 'a');
    await use('high/b', 'b');
    world().nowMs += 1_000;
    await use('low/a', 'a');
    expect(await idle(world().nowMs)).toEqual(['b']);
    expect(await idle(world().nowMs + 1)).toEqual(['b', 'a']);
    await ledger.forgetLanes({ model: 'b' });
    expect(await idle(world().nowMs + 1)).toEqual(['a']);
  });
}
