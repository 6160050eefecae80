import type { Priority } from '@batch-infer/contracts';

/** What the queue has to know of an item. */
export interface Queued {
  /** The shard, as an identity, and what its job is. */
  readonly run: {
    readonly lease: { readonly job_id: string; readonly priority: Priority };
    readonly jobEndsAtMs: number;
  };
  /** What it costs the engine: input tokens and twice the expected output. */
  readonly tokens: number;
  /** Equal for items whose prompts begin alike. */
  readonly prefixKey: number;
}

/** A job that has its turn keeps it for so much: long enough for the engine's prefix cache to be of use. */
export const QUANTUM_ITEMS = 64;
export const QUANTUM_TOKENS = 262_144;

/** Items of one shard that begin alike, in order: what is sent, or stolen, as one. */
interface Group<Item extends Queued> {
  readonly prefixKey: number;
  readonly items: Item[];
  /** Items of `items` that were taken. */
  head: number;
  /** Of those that were not. */
  tokens: number;
}

/** Groups of one engine, by shard: a shard that was begun is ended before the next. */
interface Home<Item extends Queued> {
  readonly runs: Map<Item['run'], Group<Item>[]>;
  tokens: number;
}

/** The waiting items of one job, by the engines that they are at home at. */
export class JobQueue<Item extends Queued> {
  /** As its last shard says: it may have been extended. */
  endsAtMs: number;
  /** Tokens that it was served: jobs take turns by it. */
  served = 0;
  #size = 0;
  readonly #homes = new Map<string, Home<Item>>();

  constructor(endsAtMs: number) {
    this.endsAtMs = endsAtMs;
  }

  get size(): number {
    return this.#size;
  }

  get tokensByHome(): Iterable<[string, number]> {
    return [...this.#homes].map(([home, { tokens }]) => [home, tokens]);
  }

  tokensAt(home: string): number {
    return this.#homes.get(home)?.tokens ?? 0;
  }

  push(item: Item, homeName: string): void {
    const home = this.#home(homeName);
    const groups = groupsOf(home, item.run);
    const last = groups.at(-1);
    const fits =
      last !== undefined &&
      last.prefixKey === item.prefixKey &&
      last.items.length < QUANTUM_ITEMS &&
      last.tokens < QUANTUM_TOKENS;
    if (fits) {
      last.items.push(item);
      last.tokens += item.tokens;
    } else groups.push({ prefixKey: item.prefixKey, items: [item], head: 0, tokens: item.tokens });
    home.tokens += item.tokens;
    this.#size += 1;
  }

  take(homeName: string): Item | null {
    const home = this.#homes.get(homeName);
    if (home === undefined) return null;
    for (const [run, groups] of home.runs) {
      const [group] = groups;
      const item = group?.items[group.head];
      if (group === undefined || item === undefined) continue;
      group.head += 1;
      group.tokens -= item.tokens;
      home.tokens -= item.tokens;
      this.#size -= 1;
      if (group.head === group.items.length) groups.shift();
      if (groups.length === 0) home.runs.delete(run);
      if (home.runs.size === 0) this.#homes.delete(homeName);
      return item;
    }
    return null;
  }

  /** Gives the group that would be sent last to another engine. */
  moveLastGroup(from: string, to: string): boolean {
    const home = this.#homes.get(from);
    const [run, groups] = [...(home?.runs ?? [])].at(-1) ?? [];
    const group = groups?.pop();
    if (home === undefined || run === undefined || group === undefined) return false;
    if (groups?.length === 0) home.runs.delete(run);
    home.tokens -= group.tokens;
    if (home.runs.size === 0) this.#homes.delete(from);
    const target = this.#home(to);
    groupsOf(target, run).push(group);
    target.tokens += group.tokens;
    return true;
  }

  /** Takes out all items of a shard; the answer is how many. */
  remove(run: Item['run']): number {
    const before = this.#size;
    for (const [name, home] of this.#homes) {
      for (const group of home.runs.get(run) ?? []) {
        this.#size -= group.items.length - group.head;
        home.tokens -= group.tokens;
      }
      home.runs.delete(run);
      if (home.runs.size === 0) this.#homes.delete(name);
    }
    return before - this.#size;
  }

  #home(name: string): Home<Item> {
    let home = this.#homes.get(name);
    if (home === undefined) {
      home = { runs: new Map(), tokens: 0 };
      this.#homes.set(name, home);
    }
    return home;
  }
}

function groupsOf<Item extends Queued>(home: Home<Item>, run: Item['run']): Group<Item>[] {
  let groups = home.runs.get(run);
  if (groups === undefined) {
    groups = [];
    home.runs.set(run, groups);
  }
  return groups;
}
