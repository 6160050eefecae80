import type { Lease, Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferSubscriber, OfferSubscription } from '@batch-infer/transport';
import type { Clock } from '../clock.js';
import type { Engine } from '../engine/engine.js';
import { type RunnerLogger, reasonOf } from '../logger.js';
import { type ServerClient, ServerError } from '../server/client.js';
import type { OutageWaits } from '../server/outage-waits.js';
import type { RunnerStats } from '../stats.js';
import type { ItemMemory } from '../work/item.js';
import type { Dispatcher } from './dispatcher.js';
import type { LeaseKeeper } from './lease-keeper.js';
import { readItems } from './reader.js';

export interface FeederOptions {
  readonly engines: readonly Engine[];
  readonly server: Pick<ServerClient, 'claim' | 'lines'>;
  readonly subscriber: OfferSubscriber;
  readonly dispatcher: Dispatcher;
  readonly leases: LeaseKeeper;
  readonly memory: ItemMemory;
  readonly clock: Clock;
  readonly waits: OutageWaits;
  readonly random: () => number;
  readonly stats: RunnerStats;
  readonly logger: RunnerLogger;
  readonly itemsPerSecond: () => number;
}

/** Models that were found together share a subscription: they share the engines, too. */
interface Group {
  readonly models: readonly string[];
  subscription: OfferSubscription | null;
  paused: boolean;
  /** Items that are being claimed or read. */
  incoming: number;
}

type Answer = { outcome: 'taken' } | { outcome: 'busy'; retryAfterMs: number };

/** Unsent items kept ready: a window of them, or what a fast engine ends in this time. */
const BUFFER_SECONDS = 0.3;
const BUFFER_MAX_ITEMS = 1_024;
/** Waiting for a next attempt, items take no place, but not without end. */
const DELAYED_MAX_ITEMS = 256;
/** Nothing more is claimed above this, whatever the window: a request may have 16 MiB. */
const HELD_MAX_BYTES = 128 * 1024 * 1024;
const ENOUGH_ITEMS = 16;
const BUSY_MS = 50;
const TROUBLE_MS = 1_000;

/** Claims shards when the engines need items, and no more than that: what one runner hoards, another lacks. */
export class Feeder {
  readonly #options: FeederOptions;
  readonly #groups: Group[] = [];
  /** Shards whose claim has not been answered: a claim is repeated for the same lease, so it is made once at a time. */
  readonly #claiming = new Set<string>();
  #closed = false;
  #away = false;
  /** Leaving and coming back take turns. */
  #membership: Promise<unknown> = Promise.resolve();

  constructor(options: FeederOptions) {
    this.#options = options;
  }

  /** Items that could be taken now. */
  get freeSlots(): number {
    return this.#groups.reduce((sum, group) => sum + Math.max(0, this.#need(group)), 0);
  }

  /** Shards worth asking for at once. */
  get wantedOffers(): number {
    return Math.max(1, Math.min(8, Math.ceil(this.freeSlots / 64)));
  }

  /** Leaves the offers of models that are served no more to other runners, and subscribes to those that are new. */
  async update(models: readonly string[]): Promise<void> {
    const gone = this.#groups.filter((group) => group.models.some((model) => !models.includes(model)));
    for (const group of gone) {
      this.#groups.splice(this.#groups.indexOf(group), 1);
      this.#membership = this.#membership.then(() => this.#unsubscribe(group)).catch(() => undefined);
    }
    await this.serve(models);
  }

  /** Subscribes to models that no group has yet. */
  async serve(models: readonly string[]): Promise<void> {
    const fresh = models.filter((model) => !this.#groups.some((group) => group.models.includes(model)));
    if (fresh.length === 0 || this.#closed) return;
    const group: Group = { models: fresh, subscription: null, paused: false, incoming: 0 };
    this.#groups.push(group);
    const subscribed = this.#membership.then(() => this.#subscribe(group));
    this.#membership = subscribed.catch(() => undefined);
    await subscribed;
  }

  /**
   * Leaves the offers to other runners while the control plane is out of reach: nothing can be claimed here, and over
   * Kafka what lies in our partitions would lie there until we are back.
   */
  leave(): Promise<unknown> {
    this.#away = true;
    this.#membership = this.#membership.then(() =>
      this.#away ? Promise.allSettled(this.#groups.map((group) => this.#unsubscribe(group))) : undefined,
    );
    return this.#membership;
  }

  /** The control plane is back: undoes `leave`, and what waits for it is delivered, or asked for, at once. */
  rejoin(): Promise<unknown> {
    this.#away = false;
    for (const group of this.#groups) if (!group.paused) group.subscription?.resume();
    this.#membership = this.#membership.then(() =>
      Promise.allSettled(this.#groups.map((group) => this.#subscribe(group))),
    );
    return this.#membership;
  }

  async #subscribe(group: Group): Promise<void> {
    if (group.subscription !== null || this.#away || this.#closed) return;
    const handle = (offer: Offer) => this.#handle(group, offer);
    group.paused = false;
    const { subscriber } = this.#options;
    group.subscription = await subscriber.subscribe({ models: group.models, handle, paused: false });
    this.check();
  }

  async #unsubscribe(group: Group): Promise<void> {
    const { subscription } = group;
    group.subscription = null;
    await subscription?.close();
  }

  /**
   * Stops or starts delivery as the engines' need goes. Cheap: called at every completion. Stops only when there is
   * clearly enough: an offer that crosses a pause on the wire is lost until it is made again.
   */
  check(): void {
    for (const group of this.#groups) {
      const need = this.#closed ? Number.NEGATIVE_INFINITY : this.#need(group);
      if (need > 0) this.#resume(group);
      else if (need <= -ENOUGH_ITEMS) this.#pause(group);
    }
  }

  #pause(group: Group): void {
    if (group.paused) return;
    group.paused = true;
    group.subscription?.pause();
  }

  #resume(group: Group): void {
    if (!group.paused) return;
    group.paused = false;
    group.subscription?.resume();
  }

  /** Claims nothing any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.check();
    await this.#membership;
    await Promise.allSettled(this.#groups.map((group) => this.#unsubscribe(group)));
  }

  /** How many items the group's engines want beyond those at hand. */
  #need(group: Group): number {
    const { engines, dispatcher, leases, itemsPerSecond } = this.#options;
    let capacity = 0;
    let free = 0;
    for (const engine of engines) {
      const capacities = group.models.map((model) => engine.capacityFor(model));
      if (Math.max(...capacities) <= 0) continue;
      capacity += Math.max(...capacities);
      free += engine.free;
    }
    if (capacity === 0 || leases.heldBytes > HELD_MAX_BYTES) return 0;
    let ready = group.incoming;
    let delayed = 0;
    for (const model of group.models) {
      const held = dispatcher.held(model);
      ready += held.ready;
      delayed += held.delayed;
    }
    const buffer = Math.min(
      BUFFER_MAX_ITEMS,
      Math.max(capacity, Math.ceil(itemsPerSecond() * BUFFER_SECONDS)),
    );
    if (ready + delayed > 2 * (buffer + DELAYED_MAX_ITEMS)) return 0;
    return buffer + free - ready;
  }

  async #handle(group: Group, offer: Offer): Promise<Answer> {
    const { leases, server, clock, logger, stats } = this.#options;
    if (this.#closed) return { outcome: 'busy', retryAfterMs: TROUBLE_MS };
    if (leases.holds(offer.shard_id) || this.#claiming.has(offer.shard_id)) return { outcome: 'taken' };
    if (this.#need(group) <= 0) {
      this.#pause(group);
      return { outcome: 'busy', retryAfterMs: BUSY_MS };
    }
    group.incoming += offer.items;
    this.#claiming.add(offer.shard_id);
    const claimedAtMs = clock.nowMs();
    try {
      const answer = await server.claim(offer.shard_id, offer.epoch);
      if (answer.outcome === 'refused') return { outcome: 'taken' };
      if (answer.outcome === 'busy') return { outcome: 'busy', retryAfterMs: answer.retry_after_ms };
      stats.claimed += 1;
      this.#start(group, answer.lease, claimedAtMs);
      return { outcome: 'taken' };
    } catch (error) {
      // An offer that cannot be claimed is forgotten: the sweeper offers the shard again.
      if (error instanceof ServerError && !error.retryable) {
        logger.error({ shard: offer.shard_id, reason: error.message }, 'a claim was refused');
        return { outcome: 'taken' };
      }
      logger.debug({ shard: offer.shard_id, reason: reasonOf(error) }, 'a claim was not answered');
      return { outcome: 'busy', retryAfterMs: TROUBLE_MS * (0.5 + this.#options.random()) };
    } finally {
      group.incoming -= offer.items;
      this.#claiming.delete(offer.shard_id);
      this.check();
    }
  }

  #start(group: Group, lease: Lease, claimedAtMs: number): void {
    const run = this.#options.leases.open(lease, claimedAtMs);
    if (this.#closed) {
      void this.#options.leases.end(run, 'drain');
      return;
    }
    let awaited = run.undecided;
    group.incoming += awaited;
    const arrived = (count: number) => {
      group.incoming -= count;
      awaited -= count;
    };
    const { server, dispatcher, leases } = this.#options;
    void readItems({
      ...this.#options,
      run,
      lines: (signal) => server.lines(lease.shard_id, lease.epoch, signal),
      onItem: (item) => {
        if (run.twins?.join(item) !== true) dispatcher.enqueue(item);
        arrived(1);
      },
      onChunk: () => dispatcher.fill(),
    })
      .then((seen) => leases.readWhole(run, run.phase === 'open' && seen < lease.count))
      .catch((error: unknown) => {
        const refusal =
          error instanceof ServerError ? error : new ServerError(0, null, reasonOf(error), error);
        leases.refused(run, refusal);
      })
      .finally(() => {
        arrived(awaited);
        this.check();
      });
  }
}
