import { PRIORITIES, type Priority } from '@batch-infer/contracts';

/**
 * What lower classes get of the tokens while higher ones have work: strict priority alone would let a steady stream of
 * high work starve the rest for ever.
 */
export const LOWER_CLASS_SHARE = 0.05;

/** Owed of each token that goes before it: a little more, since what the others get counts to the whole too. */
const OWED_OF_A_TOKEN = LOWER_CLASS_SHARE * 1.2;

/** Work of a class that came up short is made good later, but never by more than this many of its shards at once. */
const OWED_SHARDS = 2;

/** One shard's place in the accounts. */
export interface Charge {
  readonly priority: Priority;
  readonly projectId: string;
  /** Tokens. */
  readonly cost: number;
  readonly weight: number;
}

/** What else there was when a shard went. */
export interface ChargeContext {
  /** Cost of the next shard of each class that has one: lower classes are owed their part of what goes before them. */
  readonly waiting: ReadonlyMap<Priority, number>;
  /** It went because its class was owed it. */
  readonly owed: boolean;
}

/**
 * The accounts behind the order of offers: deficit round robin in token cost, in its self-clocked form. Each project has,
 * in each priority class, an account of the tokens it was given, divided by its weight; whoever is furthest behind goes
 * next. Without a quantum a project is never more than one shard away from its share (I9). A project that had nothing to
 * do comes back where the others are: time that it did not use is not saved up.
 *
 * Kept in memory: each dispatcher is fair by itself, and therefore all of them are together.
 */
export class FairShare {
  /** By `<priority> <project>`: the account behind its last shard. */
  readonly #accounts: Map<string, number>;
  /** Account of the shard that went last: where newcomers begin. */
  readonly #clock: Map<Priority, number>;
  /** Tokens that lower classes are owed. */
  readonly #owed: Map<Priority, number>;

  constructor(from?: FairShare) {
    this.#accounts = new Map(from ? from.#accounts : []);
    this.#clock = new Map(from ? from.#clock : []);
    this.#owed = new Map(from ? from.#owed : []);
  }

  /** A copy to try an order on, before anything is decided. */
  fork(): FairShare {
    return new FairShare(this);
  }

  /** Lower goes first. */
  accountOf(priority: Priority, projectId: string): number {
    return Math.max(this.#clockOf(priority), this.#accounts.get(`${priority} ${projectId}`) ?? 0);
  }

  /** Whether a lower class has come up short by this shard. */
  isOwed(priority: Priority, cost: number): boolean {
    return (this.#owed.get(priority) ?? 0) >= cost;
  }

  /** The shard goes. */
  charge(charge: Charge, context: ChargeContext): void {
    const { priority, projectId, cost, weight } = charge;
    const account = this.accountOf(priority, projectId);
    this.#accounts.set(`${priority} ${projectId}`, account + cost / weight);
    this.#clock.set(priority, account);
    if (context.owed) this.#owed.set(priority, Math.max(0, (this.#owed.get(priority) ?? 0) - cost));
    for (const [lower, nextCost] of context.waiting) {
      if (PRIORITIES.indexOf(lower) <= PRIORITIES.indexOf(priority)) continue;
      const owed = (this.#owed.get(lower) ?? 0) + cost * OWED_OF_A_TOKEN;
      this.#owed.set(lower, Math.min(owed, nextCost * OWED_SHARDS));
    }
    this.#forgetLevel(priority);
  }

  #clockOf(priority: Priority): number {
    return this.#clock.get(priority) ?? 0;
  }

  /** Accounts that the clock has passed say nothing any more: without this every project ever seen would stay. */
  #forgetLevel(priority: Priority): void {
    if (this.#accounts.size < FORGET_FROM) return;
    const clock = this.#clockOf(priority);
    for (const [key, account] of this.#accounts) {
      if (key.startsWith(`${priority} `) && account <= clock) this.#accounts.delete(key);
    }
  }
}

const FORGET_FROM = 1_000;
