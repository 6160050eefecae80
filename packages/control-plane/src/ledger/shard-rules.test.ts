import { countBits, emptyMask, fullMask, hasBit, minusMask, orMasks, setBit } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import { afterLostLease, bisect, openPositions, overlap, planRetry } from './shard-rules.js';
import { maskOf, range } from './world-conformance.js';

const shard = (count: number, done: number[] = [], bad: number[] = []) => ({
  count,
  doneMask: maskOf(...done),
  badMask: maskOf(...bad),
});

/** Deterministic numbers below `limit`. */
function* numbers(seed: number, limit: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    yield state % limit;
  }
}

describe('a shard that lost a lease', () => {
  it('is offered again as it is after the first loss', () => {
    expect(afterLostLease({ ...shard(4), lostLeases: 1 })).toEqual({ outcome: 'ready' });
  });

  it('is bisected after the second', () => {
    expect(afterLostLease({ ...shard(4), lostLeases: 2 })).toMatchObject({
      outcome: 'bisect',
      parts: [
        { from: 0, count: 2 },
        { from: 2, count: 2 },
      ],
    });
  });

  it('of one open item is poisoned after the third, not before', () => {
    expect(afterLostLease({ ...shard(3, [0, 2]), lostLeases: 2 })).toEqual({ outcome: 'ready' });
    expect(afterLostLease({ ...shard(3, [0, 2]), lostLeases: 3 })).toEqual({ outcome: 'poisoned' });
  });

  it('never crosses the widths of a mask, bit for bit', () => {
    const parts = bisect({ count: 256, doneMask: maskOf(0, 255), badMask: maskOf(255) });
    expect(parts.map(({ from, count }) => [from, count])).toEqual([
      [0, 128],
      [128, 128],
    ]);
    expect(parts.map(({ doneMask }) => countBits(doneMask))).toEqual([1, 1]);
    expect(hasBit(parts[1].badMask, 127)).toBe(true);
  });

  it('comes apart into halves that together are the shard, for any pattern of ended items', () => {
    const random = numbers(7, 1_000);
    for (const round of range(0, 200)) {
      const count = 2 + (round % 255);
      const whole = shard(count);
      for (const position of range(0, count)) {
        if (random.next().value < round * 5) setBit(whole.doneMask, position);
      }
      const open = openPositions(whole);
      if (open.length < 2) continue;
      const [left, right] = bisect(whole);
      expect([left.from, right.from, left.count + right.count]).toEqual([0, left.count, count]);
      const rejoined = [
        ...openPositions(left),
        ...openPositions(right).map((position) => position + right.from),
      ];
      expect(rejoined).toEqual(open);
      expect(Math.abs(openPositions(left).length - openPositions(right).length)).toBeLessThanOrEqual(1);
    }
  });
});

describe('the plan of a retry', () => {
  it('keeps a shard whole when all of its open items run', () => {
    const plan = planRetry(shard(4, [0, 1], [1]), { failed: true, neverRun: true });
    expect(plan).toMatchObject({ items: 3, excluded: 0, reopened: maskOf(1) });
    expect(plan.parts).toEqual([{ from: 0, count: 4, doneMask: maskOf(0), badMask: emptyMask(), run: true }]);
  });

  it('parts items that run from never-run items that do not', () => {
    const plan = planRetry(shard(6, [0, 2, 3], [0, 3]), { failed: true, neverRun: false });
    expect(plan.parts.map(({ from, count, run }) => [from, count, run])).toEqual([
      [0, 1, true],
      [1, 2, false],
      [3, 1, true],
      [4, 2, false],
    ]);
    expect([plan.items, plan.excluded]).toEqual([2, 3]);
  });

  it('has nothing to do for a shard whose items all succeeded, or whose failures are not asked for', () => {
    expect(planRetry(shard(2, [0, 1]), { failed: true, neverRun: true })).toMatchObject({
      items: 0,
      parts: [],
    });
    expect(planRetry(shard(2, [0, 1], [0]), { failed: false, neverRun: true }).items).toBe(0);
  });

  it('accounts for every position, for any pattern', () => {
    const random = numbers(11, 4);
    for (const round of range(0, 200)) {
      const whole = shard(1 + (round % 256));
      for (const position of range(0, whole.count)) {
        const kind = random.next().value;
        if (kind > 1) setBit(whole.doneMask, position);
        if (kind === 3) setBit(whole.badMask, position);
      }
      const retry = { failed: round % 2 === 0, neverRun: round % 3 === 0 };
      const { parts, items, excluded, reopened } = planRetry(whole, retry);
      if (parts.length === 0) continue;
      expect(parts.reduce((sum, { count }) => sum + count, 0)).toBe(whole.count);
      const openIn = (run: boolean) =>
        parts.filter((part) => part.run === run).reduce((sum, part) => sum + openPositions(part).length, 0);
      expect([openIn(true), openIn(false)]).toEqual([items, excluded]);
      const done = parts.reduce((sum, part) => sum + countBits(part.doneMask), 0);
      expect(done).toBe(countBits(minusMask(whole.doneMask, reopened)));
    }
  });
});

describe('the overlap of two masks', () => {
  it('is counted from the first of the two', () => {
    expect(overlap(maskOf(0, 5, 6), 10, maskOf(0, 1, 9), 15)).toEqual(maskOf(5, 6));
    expect(overlap(maskOf(0, 5), 15, maskOf(5, 20), 10)).toEqual(maskOf(0));
  });

  it('is empty for masks that lie apart', () => {
    expect(countBits(overlap(fullMask(256), 0, fullMask(256), 256))).toBe(0);
    expect(countBits(orMasks(emptyMask(), overlap(fullMask(256), 300, fullMask(256), 0)))).toBe(0);
  });
});
