import { PRIORITIES, type Priority } from '@batch-infer/contracts';
import type { WorkItem } from '../work/item.js';
import type { ShardRun } from '../work/shard-run.js';

interface Lane {
  /** Items to be tried again: they come first, so that their shard can end. */
  retries: WorkItem[];
  fresh: (WorkItem | undefined)[];
  /** Items of `fresh` that were taken; their places are empty, so that nothing is kept alive. */
  head: number;
}

const COMPACT_AT = 1_024;

/** Items of one model that may be sent now: higher priorities first, else in the order they came. */
export class ItemQueue {
  readonly #lanes: Record<Priority, Lane> = {
    high: { retries: [], fresh: [], head: 0 },
    normal: { retries: [], fresh: [], head: 0 },
    low: { retries: [], fresh: [], head: 0 },
  };
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(item: WorkItem): void {
    this.#lanes[item.run.lease.priority].fresh.push(item);
    this.#size += 1;
  }

  pushRetry(item: WorkItem): void {
    this.#lanes[item.run.lease.priority].retries.push(item);
    this.#size += 1;
  }

  /** @param freshFirst Prefer items that have not been tried, as when an engine is being tried. */
  take(freshFirst: boolean): WorkItem | null {
    if (this.#size === 0) return null;
    for (const priority of PRIORITIES) {
      const lane = this.#lanes[priority];
      const item = freshFirst ? (takeFresh(lane) ?? takeRetry(lane)) : (takeRetry(lane) ?? takeFresh(lane));
      if (item === null) continue;
      this.#size -= 1;
      return item;
    }
    return null;
  }

  /** Takes out all items of a shard. */
  remove(run: ShardRun): void {
    const lane = this.#lanes[run.lease.priority];
    const before = lane.retries.length + lane.fresh.length - lane.head;
    lane.retries = lane.retries.filter((item) => item.run !== run);
    lane.fresh = lane.fresh.slice(lane.head).filter((item) => item?.run !== run);
    lane.head = 0;
    this.#size -= before - lane.retries.length - lane.fresh.length;
  }
}

const takeRetry = (lane: Lane): WorkItem | null => lane.retries.shift() ?? null;

function takeFresh(lane: Lane): WorkItem | null {
  const item = lane.fresh[lane.head];
  if (item === undefined) return null;
  lane.fresh[lane.head] = undefined;
  lane.head += 1;
  if (lane.head >= COMPACT_AT || lane.head === lane.fresh.length) {
    lane.fresh = lane.fresh.slice(lane.head);
    lane.head = 0;
  }
  return item;
}
