import { LIMITS } from '@batch-infer/contracts';
import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher, WaitingRunner } from '@batch-infer/transport';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { Metrics } from '../telemetry/metrics.js';
import { CLOCK, CONFIG, LEDGER, OFFER_PUBLISHER } from '../tokens.js';
import { FairShare } from './fair-share.js';
import { LanePublisher } from './lane-publisher.js';
import { LANE_WINDOW_MIN, laneRooms, totalRoom } from './lane-windows.js';
import { OutstandingOffers } from './outstanding-offers.js';
import { type OfferBounds, type OfferChoice, pickShards } from './pick-shards.js';
import { servedModels } from './served-models.js';

/** Direct offers of one lane that may stand unclaimed at a time, however many runners ask (I8). */
export const DIRECT_LANE_WINDOW = 256;

/** Offers taken from the ledger in one transaction: at most, and at least while there is something to repeat. */
const BATCH = 256;
const SMALL_BATCH = 32;

/** Models that are asked for in one look at the ledger. */
const SERVED_MODELS_MAX = LIMITS.servedModels;

/** Takes ready shards from the ledger, in fair order, and hands their offers to the transport. */
@Injectable()
export class Dispatcher {
  readonly #ledger: Ledger;
  readonly #publisher: OfferPublisher;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #outstanding: OutstandingOffers;
  readonly #lanes: LanePublisher;
  readonly #share = new FairShare();

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
    this.#config = config;
    this.#outstanding = new OutstandingOffers({ ttlMs: config.offerTtlMs });
    this.#lanes = new LanePublisher({
      publisher,
      metrics,
      // Unheard: without this they would wait for their time to be over.
      takeBack: (offers) => this.withdraw(offers),
    });
  }

  /** True when there is more to offer right now. */
  async tick(): Promise<boolean> {
    this.#outstanding.forgetStale(this.#clock.nowMs());
    const { demand } = this.#publisher;
    return demand ? this.#offerToWaiting(demand.waiting()) : this.#fillLanes();
  }

  /** Lanes that offers were published to since the last call. */
  usedLanes(): ReadonlyMap<string, string> {
    return this.#lanes.takeUsed();
  }

  /** The shard was claimed, or its offer refused: it is no longer outstanding. */
  claimed(shardId: string): void {
    this.#outstanding.remove(shardId);
  }

  /** Offers that did not arrive: their shards may be offered again at once. */
  async withdraw(offers: readonly Pick<Offer, 'shard_id'>[]): Promise<void> {
    const shardIds = offers.map((offer) => offer.shard_id);
    if (shardIds.length === 0) return;
    for (const shardId of shardIds) this.#outstanding.withdraw(shardId);
    await this.#ledger.withdrawOffers({ shardIds });
  }

  /** Direct: as many offers as the waiting runners want, runners with the same models and project together. */
  async #offerToWaiting(waiting: readonly WaitingRunner[]): Promise<boolean> {
    const groups = new Map<string, { models: readonly string[]; projectId: string | null; wanted: number }>();
    for (const { models, projectId = null, max } of waiting) {
      const key = JSON.stringify([projectId, ...[...models].sort()]);
      const group = groups.get(key) ?? { models, projectId, wanted: 0 };
      groups.set(key, { ...group, wanted: group.wanted + max });
    }
    for (const { models, projectId, wanted } of groups.values()) {
      await this.#offer({
        models,
        projectId,
        limit: Math.min(wanted, BATCH),
        room: (lane) => DIRECT_LANE_WINDOW - this.#outstanding.count(lane),
        offeredAgainNeedsRoom: true,
        oneLaneAtATime: false,
      });
    }
    return false;
  }

  /**
   * Pushing transports: up to the window of each lane, counted in the ledger, since others publish and claim too. Only
   * lanes that a live runner reads: model names are the clients' to invent, and what nobody serves waits in the ledger.
   */
  async #fillLanes(): Promise<boolean> {
    const seenAfterMs = this.#clock.nowMs() - this.#config.leaseMs;
    const runners = await this.#ledger.listRunners({ seenAfterMs });
    const reports = runners.map(({ report }) => report);
    const models = [...servedModels(reports, SERVED_MODELS_MAX)];
    if (models.length === 0) return false;
    const { lanes, waitForBudget } = await this.#ledger.laneLoads({ models });
    if (lanes.length === 0 && !waitForBudget) return false;
    const rooms = laneRooms(lanes, reports);
    const closed = this.#lanes.closed();
    // Of a lane that only held jobs have work for nothing is counted: when one is let in, its first offers go.
    const room = (lane: string) => (closed.has(lane) ? 0 : (rooms.get(lane) ?? LANE_WINDOW_MIN));
    const limit = Math.min(BATCH, Math.max(SMALL_BATCH, totalRoom([...rooms.keys()].map(room))));
    const offered = await this.#offer({
      models,
      limit,
      room,
      offeredAgainNeedsRoom: false,
      oneLaneAtATime: true,
    });
    return offered === limit;
  }

  async #offer(
    params: Omit<OfferBounds, 'isPaid'> & { models?: readonly string[]; projectId?: string | null },
  ): Promise<number> {
    const { models, projectId = null, limit } = params;
    const nowMs = this.#clock.nowMs();
    let choices: readonly OfferChoice[] = [];
    const shards = await this.#ledger.takeOffers({
      ...(models ? { models } : {}),
      projectId,
      staleBeforeMs: nowMs - this.#config.offerTtlMs,
      limit,
      nowMs,
      pick: (queues) => {
        const bounds = { ...params, isPaid: (shardId: string) => this.#outstanding.isWithdrawn(shardId) };
        choices = pickShards(queues, bounds, this.#share);
        return choices.map(({ shard }) => shard);
      },
    });
    if (shards.length === 0) return 0;
    const byShard = new Map(choices.map((choice) => [choice.shard.id, choice]));
    const offers = shards.flatMap((shard) => {
      const choice = byShard.get(shard.id);
      if (choice === undefined) return [];
      if (choice.entry !== null) this.#share.charge(choice.entry.charge, choice.entry.context);
      // The epoch is the marked row's.
      return toOffer({ ...choice, shard }, nowMs);
    });
    for (const { shard_id: shardId, lane } of offers) this.#outstanding.add({ shardId, lane, nowMs });
    await this.#lanes.publish(offers);
    return offers.length;
  }
}

const toOffer = ({ shard, lanePriority }: OfferChoice, nowMs: number): Offer => ({
  shard_id: shard.id,
  epoch: shard.epoch,
  lane: laneName(lanePriority, shard.model),
  model: shard.model,
  priority: lanePriority,
  items: shard.count,
  job_id: shard.jobId,
  project_id: shard.projectId,
  offered_at_ms: nowMs,
});
