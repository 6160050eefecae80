import { clearBit, countBits, emptyMask, hasBit, LIMITS, type Mask, setBit } from '@batch-infer/contracts';

/** Rules of shards, pure. */

/** A part of a shard: positions `from` to `from + count` of it, with the masks moved to the part's own positions. */
export interface ShardPart {
  readonly from: number;
  readonly count: number;
  readonly doneMask: Mask;
  readonly badMask: Mask;
}

interface ShardItems {
  readonly count: number;
  readonly doneMask: Mask;
  readonly badMask: Mask;
}

export type AfterLostLease =
  /** To be offered again as it is. */
  | { readonly outcome: 'ready' }
  /** To be replaced by its two halves. */
  | { readonly outcome: 'bisect'; readonly parts: readonly [ShardPart, ShardPart] }
  /** One item that cost too many leases: to be failed. */
  | { readonly outcome: 'poisoned' };

/**
 * What becomes of a shard whose lease ended without a word (I10). `lostLeases` counts this loss too; parts of a
 * bisected shard inherit it, so that the one item that kills its runners has been alone when it is failed.
 */
export function afterLostLease(shard: ShardItems & { readonly lostLeases: number }): AfterLostLease {
  const left = openPositions(shard);
  if (left.length <= 1) {
    return shard.lostLeases >= LIMITS.lostLeasesBeforeFailure
      ? { outcome: 'poisoned' }
      : { outcome: 'ready' };
  }
  if (shard.lostLeases < LIMITS.lostLeasesBeforeBisection) return { outcome: 'ready' };
  return { outcome: 'bisect', parts: bisect(shard) };
}

/** Splits a shard at the median of its open items. Together the halves cover all its positions, ended ones included. */
export function bisect(shard: ShardItems): readonly [ShardPart, ShardPart] {
  const left = openPositions(shard);
  const median = left[Math.ceil(left.length / 2)] ?? shard.count;
  return [partOf(shard, 0, median), partOf(shard, median, shard.count - median)];
}

/** Positions whose items have not ended, ascending. */
export function openPositions(shard: { readonly count: number; readonly doneMask: Mask }): number[] {
  const positions: number[] = [];
  for (let position = 0; position < shard.count; position += 1) {
    if (!hasBit(shard.doneMask, position)) positions.push(position);
  }
  return positions;
}

function partOf(shard: ShardItems, from: number, count: number): ShardPart {
  return {
    from,
    count,
    doneMask: slice(shard.doneMask, from, count),
    badMask: slice(shard.badMask, from, count),
  };
}

function slice(mask: Mask, from: number, count: number): Mask {
  const part = emptyMask();
  for (let position = 0; position < count; position += 1) {
    if (hasBit(mask, from + position)) setBit(part, position);
  }
  return part;
}

export interface RetryPlan {
  /** Positions that run again and had failed: their old lines do not count any more. */
  readonly reopened: Mask;
  /** Items that run again. */
  readonly items: number;
  /**
   * The shard's parts after the retry, in order; one part means that the shard stays whole. A part holds either items
   * to run (`run`) or never-run items that this retry leaves out, beside items that have ended.
   */
  readonly parts: readonly (ShardPart & { readonly run: boolean })[];
  /** Never-run items left out. */
  readonly excluded: number;
}

/** Which items of an ended job's shard a retry runs again: the failed, the never run, or both. */
export function planRetry(
  shard: ShardItems,
  retry: { readonly failed: boolean; readonly neverRun: boolean },
): RetryPlan {
  const doneMask = new Uint8Array(shard.doneMask);
  const badMask = new Uint8Array(shard.badMask);
  const reopened = emptyMask();
  const boundaries: { from: number; run: boolean }[] = [];
  let items = 0;
  let excluded = 0;
  for (let position = 0; position < shard.count; position += 1) {
    const done = hasBit(shard.doneMask, position);
    if (done && !(retry.failed && hasBit(shard.badMask, position))) continue;
    const run = done || retry.neverRun;
    if (run) items += 1;
    else excluded += 1;
    if (done) {
      setBit(reopened, position);
      clearBit(doneMask, position);
      clearBit(badMask, position);
    }
    if (boundaries.at(-1)?.run !== run)
      boundaries.push({ from: boundaries.length === 0 ? 0 : position, run });
  }
  const after = { count: shard.count, doneMask, badMask };
  const parts = boundaries.map(({ from, run }, index) => {
    const until = boundaries[index + 1]?.from ?? shard.count;
    return { ...partOf(after, from, until - from), run };
  });
  return { reopened, items, parts, excluded };
}

/** Bits of `mask`, counted from `first`, that stand at the same items as those of `other`, counted from `otherFirst`. */
export function overlap(mask: Mask, first: number, other: Mask, otherFirst: number): Mask {
  const common = emptyMask();
  for (let position = 0; position < LIMITS.shardItems; position += 1) {
    const otherPosition = first + position - otherFirst;
    if (otherPosition < 0 || otherPosition >= LIMITS.shardItems) continue;
    if (hasBit(mask, position) && hasBit(other, otherPosition)) setBit(common, position);
  }
  return common;
}

export const isEmpty = (mask: Mask): boolean => countBits(mask) === 0;
