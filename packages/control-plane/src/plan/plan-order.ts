import { LIMITS } from '@batch-infer/contracts';
import { type ItemTable, PREFIX_LEVELS } from './item-table.js';
import { LEVEL_BYTES } from './prefix-keys.js';
import { sortRows, Turns } from './sort-rows.js';

/** Prompt bytes that the order must save an engine, as a share of all: for less, the input is not written again. */
const LEAST_PREFIX_GAIN = 0.1;
/** How far the longest expected answer must be above the mean, so that beginning with it shortens the tail. */
const LEAST_LENGTH_SPREAD = 2;

export interface PlanGain {
  /** Share of the prompt bytes that follow an item with the same beginning, beyond those that do so in input order. */
  readonly prefixShare: number;
  /** Longest expected answer by the mean. */
  readonly lengthSpread: number;
  /** Shards of the input order by those of the plan: files that mix models have one for each change of the model. */
  readonly shardRatio: number;
}

export interface PlannedOrder {
  /** The input index of each position of the work file. */
  readonly order: Uint32Array;
  readonly gain: PlanGain;
  /** False: input order is as good, and nothing needs to be written. */
  readonly worthwhile: boolean;
}

/**
 * The order in which a job's items are best run. Pure, and the same for the same items.
 *
 * By model (a shard never mixes them), and of one model what will run first; then prompts with the same beginning
 * together, level by level; groups by the longest answer that is expected in them, longest first, and so inside a group.
 * A long answer begun last would leave the engine idle behind it. What is equal stays in input order.
 * @param inputShards shards of the input order
 * @param reuse the keys bring identical requests together, which then run once
 */
export async function planOrder(
  items: ItemTable,
  { inputShards, reuse }: { inputShards: number; reuse: boolean },
): Promise<PlannedOrder> {
  const order = new Uint32Array(items.length);
  for (let index = 0; index < order.length; index += 1) order[index] = index;
  const savedBefore = await savedBytes(items, order);
  await sortRows(order, byGroup(items));
  await new GroupOrder(items, order).arrange();
  const gain = {
    prefixShare: Math.max(0, (await savedBytes(items, order)) - savedBefore) / Math.max(1, sum(items.bytes)),
    lengthSpread: spread(items.outputs),
    shardRatio: inputShards / Math.max(1, plannedShards(items)),
  };
  const worthwhile =
    !isInputOrder(order) &&
    (reuse ||
      gain.prefixShare >= LEAST_PREFIX_GAIN ||
      gain.lengthSpread >= LEAST_LENGTH_SPREAD ||
      gain.shardRatio >= 2);
  return { order, gain, worthwhile };
}

/** Items of one group side by side, the longest expected answer first. */
function byGroup(items: ItemTable): (left: number, right: number) => number {
  const { keys, outputs } = items;
  return (left, right) => {
    const lot = items.lotOf(left) - items.lotOf(right);
    if (lot !== 0) return lot;
    for (let level = 0; level < PREFIX_LEVELS; level += 1) {
      const leftKey = keys[left * PREFIX_LEVELS + level] ?? 0;
      const rightKey = keys[right * PREFIX_LEVELS + level] ?? 0;
      if (leftKey !== rightKey) return leftKey < rightKey ? -1 : 1;
      if (leftKey === 0) break;
    }
    return byLength(outputs, left, right);
  };
}

const byLength = (outputs: Uint32Array, left: number, right: number): number =>
  (outputs[right] ?? 0) - (outputs[left] ?? 0) || left - right;

/** Brings the groups of every level into the order of their longest item, innermost level first. */
class GroupOrder {
  readonly #items: ItemTable;
  readonly #order: Uint32Array;
  readonly #copy: Uint32Array;
  /** Where the group that begins at a position ends. */
  readonly #ends: Uint32Array;
  readonly #turns = new Turns();

  constructor(items: ItemTable, order: Uint32Array) {
    this.#items = items;
    this.#order = order;
    this.#copy = new Uint32Array(order.length);
    this.#ends = new Uint32Array(order.length);
  }

  async arrange(): Promise<void> {
    const items = this.#items;
    const row = (position: number): number => this.#order[position] ?? 0;
    for (let from = 0; from < this.#order.length; ) {
      const lot = items.lotOf(row(from));
      let to = from + 1;
      while (to < this.#order.length && items.lotOf(row(to)) === lot) to += 1;
      await this.#arrangeLevel(from, to, 0);
      from = to;
    }
  }

  async #arrangeLevel(from: number, to: number, level: number): Promise<void> {
    const starts = await this.#findGroups(from, to, level);
    if (starts.length < 2) return;
    const order = this.#order;
    const { outputs } = this.#items;
    // A group's first item is its longest one.
    await sortRows(starts, (left, right) => byLength(outputs, order[left] ?? 0, order[right] ?? 0));
    this.#copy.set(order.subarray(from, to), from);
    let at = from;
    for (const start of starts) {
      if ((at & 0xfff) === 0) await this.#turns.after(0x1000);
      const end = this.#ends[start] ?? start;
      for (let position = start; position < end; position += 1) {
        order[at] = this.#copy[position] ?? 0;
        at += 1;
      }
    }
  }

  /** Where the groups of a level begin, each arranged inside. */
  async #findGroups(from: number, to: number, level: number): Promise<Uint32Array> {
    const { keys } = this.#items;
    const keyAt = (position: number): number =>
      keys[(this.#order[position] ?? 0) * PREFIX_LEVELS + level] ?? 0;
    const starts = new Uint32Array(to - from);
    let groups = 0;
    for (let start = from; start < to; ) {
      const key = keyAt(start);
      let end = start + 1;
      // Without a key an item shares nothing: it stands alone.
      if (key !== 0) while (end < to && keyAt(end) === key) end += 1;
      if (end - start > 1 && level + 1 < PREFIX_LEVELS) await this.#arrangeLevel(start, end, level + 1);
      this.#ends[start] = end;
      starts[groups] = start;
      groups += 1;
      if ((groups & 0xff) === 0) await this.#turns.after(0x100);
      start = end;
    }
    return starts.subarray(0, groups);
  }
}

/** Prompt bytes that an item has in common with the one before it, at least. */
async function savedBytes(items: ItemTable, order: Uint32Array): Promise<number> {
  const turns = new Turns();
  let saved = 0;
  for (let position = 1; position < order.length; position += 1) {
    if ((position & 0xfff) === 0) await turns.after(0x1000);
    const before = order[position - 1] ?? 0;
    const item = order[position] ?? 0;
    const levels = items.sharedLevels(before, item);
    if (levels === 0 || items.lotOf(before) !== items.lotOf(item)) continue;
    saved += Math.min(items.bytes[item] ?? 0, (items.depths[item] ?? 0) + (levels - 1) * LEVEL_BYTES);
  }
  return saved;
}

/** Shards of the plan, but for those that end early because of their bytes. */
function plannedShards(items: ItemTable): number {
  const counts = new Uint32Array(items.models.names.length);
  for (let index = 0; index < items.length; index += 1) {
    const model = items.models.numberOf(index);
    counts[model] = (counts[model] ?? 0) + 1;
  }
  return counts.reduce((shards, count) => shards + Math.ceil(count / LIMITS.shardItems), 0);
}

function spread(outputs: Uint32Array): number {
  const mean = sum(outputs) / Math.max(1, outputs.length);
  let longest = 0;
  for (const output of outputs) longest = Math.max(longest, output);
  return mean === 0 ? 1 : longest / mean;
}

function sum(numbers: Uint32Array): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

function isInputOrder(order: Uint32Array): boolean {
  for (let position = 0; position < order.length; position += 1)
    if (order[position] !== position) return false;
  return true;
}
