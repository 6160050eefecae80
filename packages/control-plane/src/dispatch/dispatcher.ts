import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher, WaitingRunner } from '@batch-infer/transport';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import { Metrics } from '../telemetry/metrics.js';
import { CLOCK, CONFIG, LEDGER, OFFER_PUBLISHER } from '../tokens.js';
import { OutstandingOffers } from './outstanding-offers.js';
import { pickShards } from './pick-shards.js';

/** Offers of one lane that may stand unclaimed at a time, however long the backlog is (I8). */
export const LANE_WINDOW = 256;

/** Offers taken from the ledger in one transaction. */
const BATCH = 256;

/** Takes ready shards from the ledger, in fair order, and hands their offers to the transport. */
@Injectable()
export class Dispatcher {
  readonly #ledger: Ledger;
  readonly #publisher: OfferPublisher;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #offerTtlMs: number;
  readonly #outstanding: OutstandingOffers;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(OFFER_PUBLISHER) publisher: OfferPublisher,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
    @Inject(Metrics) metrics: Metrics,
  ) {
    this.#ledger = ledger;
    this.#publisher = publisher;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#offerTtlMs = config.offerTtlMs;
    this.#outstanding = new OutstandingOffers({ ttlMs: config.offerTtlMs });
  }

  /** True when there is more to offer right now. */
  async tick(): Promise<boolean> {
    this.#outstanding.forgetStale(this.#clock.nowMs());
    const { demand } = this.#publisher;
    return demand ? this.#offerToWaiting(demand.waiting()) : this.#fillLanes();
  }

  /** The shard was claimed, or its offer refused: it is no longer outstanding. */
  claimed(shardId: string): void {
    this.#outstanding.remove(shardId);
  }

  /** Offers that did not arrive: their shards may be offered again at once. */
  async withdraw(offers: readonly Pick<Offer, 'shard_id'>[]): Promise<void> {
    const shardIds = offers.map((offer) => offer.shard_id);
    if (shardIds.length === 0) return;
    for (const shardId of shardIds) this.#outstanding.remove(shardId);
    await this.#ledger.withdrawOffers({ shardIds });
  }

  /** Direct: as many offers as the waiting runners want, runners with the same models together. */
  async #offerToWaiting(waiting: readonly WaitingRunner[]): Promise<boolean> {
    const groups = new Map<string, { models: readonly string[]; wanted: number }>();
    for (const { models, max } of waiting) {
      const key = JSON.stringify([...models].sort());
      const group = groups.get(key) ?? { models, wanted: 0 };
      groups.set(key, { models, wanted: group.wanted + max });
    }
    for (const { models, wanted } of groups.values()) {
      await this.#offer({
        models,
        limit: Math.min(wanted, BATCH),
        room: (lane) => LANE_WINDOW - this.#outstanding.count(lane),
        offeredAgainNeedsRoom: true,
      });
    }
    return false;
  }

  /** Pushing transports: up to the window in each lane, counted in the ledger, since others publish and claim too. */
  async #fillLanes(): Promise<boolean> {
    const rooms = new Map<string, number>();
    for (const lane of await this.#ledger.backlog()) {
      rooms.set(laneName(lane.priority, lane.model), LANE_WINDOW - lane.offeredShards);
    }
    if (rooms.size === 0) return false;
    const offered = await this.#offer({
      limit: BATCH,
      room: (lane) => rooms.get(lane) ?? LANE_WINDOW,
      offeredAgainNeedsRoom: false,
    });
    return offered === BATCH;
  }

  async #offer(params: {
    models?: readonly string[];
    limit: number;
    room: (lane: string) => number;
    offeredAgainNeedsRoom: boolean;
  }): Promise<number> {
    const { room, offeredAgainNeedsRoom } = params;
    const nowMs = this.#clock.nowMs();
    const shards = await this.#ledger.takeOffers({
      ...(params.models ? { models: params.models } : {}),
      staleBeforeMs: nowMs - this.#offerTtlMs,
      limit: params.limit,
      nowMs,
      pick: (queues, limit) => pickShards(queues, { limit, room, offeredAgainNeedsRoom }),
    });
    if (shards.length === 0) return 0;
    const offers = shards.map((shard) => toOffer(shard, nowMs));
    for (const offer of offers) this.#outstanding.add({ shardId: offer.shard_id, lane: offer.lane, nowMs });
    try {
      await this.#publisher.publish({ offers });
    } catch (error) {
      // Unheard: without this they would wait for their time to be over.
      await this.withdraw(offers);
      throw error;
    }
    this.#metrics.offersPublished.inc(offers.length);
    return offers.length;
  }
}

const toOffer = (shard: ShardRecord, nowMs: number): Offer => ({
  shard_id: shard.id,
  epoch: shard.epoch,
  lane: laneName(shard.priority, shard.model),
  model: shard.model,
  priority: shard.priority,
  items: shard.count,
  job_id: shard.jobId,
  offered_at_ms: nowMs,
});
