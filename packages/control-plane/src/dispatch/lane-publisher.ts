import { setTimeout as delay } from 'node:timers/promises';
import type { Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher } from '@batch-infer/transport';
import type { Metrics } from '../telemetry/metrics.js';

/** How long a tick waits for lanes: longer ones go on beside it. */
const PATIENCE_MS = 250;

/**
 * Hands offers to the transport. Where it has lanes, each lane goes by itself: one that fails or takes long has its own
 * offers taken back, is left alone for a while, and delays nobody.
 */
export class LanePublisher {
  readonly #publisher: OfferPublisher;
  readonly #metrics: Pick<Metrics, 'offersPublished' | 'laneFailures'>;
  readonly #takeBack: (offers: readonly Offer[]) => Promise<void>;
  readonly #patienceMs: number;
  /** Lanes whose last offers are still on their way. */
  readonly #underWay = new Set<string>();
  /** Models by lane, of lanes that offers were sent to. */
  #used = new Map<string, string>();

  constructor(params: {
    publisher: OfferPublisher;
    metrics: Pick<Metrics, 'offersPublished' | 'laneFailures'>;
    /** Offers that did not arrive may be made again. */
    takeBack: (offers: readonly Offer[]) => Promise<void>;
    /** Default 250 ms. */
    patienceMs?: number;
  }) {
    this.#publisher = params.publisher;
    this.#metrics = params.metrics;
    this.#takeBack = params.takeBack;
    this.#patienceMs = params.patienceMs ?? PATIENCE_MS;
  }

  /** Lanes that should get no offers now: they are slow, or failed a moment ago. */
  closed(): ReadonlySet<string> {
    const failing = this.#publisher.lanes?.problems().filter(({ waits }) => waits) ?? [];
    return new Set([...this.#underWay, ...failing.map(({ lane }) => lane)]);
  }

  /** Lanes with their models that offers were sent to since the last call. */
  takeUsed(): ReadonlyMap<string, string> {
    const used = this.#used;
    this.#used = new Map();
    return used;
  }

  /** @throws the transport's error where it has no lanes; a lane that fails is the lane's own trouble. */
  async publish(offers: readonly Offer[]): Promise<void> {
    if (this.#publisher.lanes === undefined) return await this.#publish(offers);
    for (const { lane, model } of offers) this.#used.set(lane, model);
    const sends = [...Map.groupBy(offers, ({ lane }) => lane)].map(([lane, group]) =>
      this.#send(lane, group),
    );
    const waiting = new AbortController();
    const patience = delay(this.#patienceMs, undefined, { signal: waiting.signal }).catch(() => {});
    await Promise.race([Promise.all(sends), patience]);
    waiting.abort();
  }

  async #send(lane: string, offers: readonly Offer[]): Promise<void> {
    this.#underWay.add(lane);
    try {
      await this.#publish(offers);
    } catch {
      // Told by the transport: in its log, its health and the lane's problem.
      this.#metrics.laneFailures.inc();
    } finally {
      this.#underWay.delete(lane);
    }
  }

  async #publish(offers: readonly Offer[]): Promise<void> {
    try {
      await this.#publisher.publish({ offers });
    } catch (error) {
      await this.#takeBack(offers);
      throw error;
    }
    this.#metrics.offersPublished.inc(offers.length);
  }
}
