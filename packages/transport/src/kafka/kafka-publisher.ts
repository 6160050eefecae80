import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferLanes, OfferPublisher, TransportHealth } from '../port.js';
import { withDeadline } from './deadline.js';
import type { KafkaAdmin, KafkaClient, KafkaProducer, RecordToSend } from './kafka-client.js';
import { type KafkaLogger, RateLimiter, reasonOf, silentKafkaLogger } from './kafka-logger.js';
import type { KafkaOptions } from './kafka-options.js';
import { createKafkajsClient } from './kafkajs-client.js';
import { LaneHealth } from './lane-health.js';
import { LaneLoads } from './lane-load.js';
import { LaneTopics } from './lane-topics.js';
import { encodeOffer } from './offer-record.js';
import { partitionFor } from './partition-for.js';
import { laneTopic, laneTopics, runnersGroup } from './topic-names.js';

const CHECK_INTERVAL_MS = 5_000;
const CLOSE_LIMIT_MS = 2_000;
/** Connections for a model without offers are closed after this. */
const PRODUCER_IDLE_MS = 10 * 60_000;

export interface KafkaPublisherParams {
  readonly options: KafkaOptions;
  readonly logger?: KafkaLogger;
  /** W3C trace context to send along with an offer; `null`: none. */
  readonly traceparentOf?: (offer: Offer) => string | null;
  /** Another client than kafkajs. */
  readonly client?: KafkaClient;
}

/** The control plane's side. Connects in the background, so that a broker that is away stops nobody's start. */
export const createKafkaPublisher = (params: KafkaPublisherParams): KafkaPublisher =>
  new KafkaPublisher(params);

/**
 * Publishes each lane by itself: in a send with its own deadline, over connections that only its model uses. A lane that
 * cannot be made, or that is slow, delays no other.
 */
export class KafkaPublisher implements OfferPublisher {
  readonly lanes: OfferLanes;
  readonly #options: KafkaOptions;
  readonly #logger: KafkaLogger;
  readonly #traceparentOf: (offer: Offer) => string | null;
  readonly #client: KafkaClient;
  readonly #producers = new Map<string, { producer: KafkaProducer; usedMs: number }>();
  readonly #admin: KafkaAdmin;
  readonly #topics: LaneTopics;
  readonly #loads: LaneLoads;
  readonly #laneHealth = new LaneHealth();
  readonly #limiter = new RateLimiter();
  readonly #checking: NodeJS.Timeout;
  #brokerProblem: string | null = 'has not answered yet';
  #closed = false;

  constructor(params: KafkaPublisherParams) {
    const logger = params.logger ?? silentKafkaLogger;
    this.#client = params.client ?? createKafkajsClient(params.options, logger);
    this.#options = params.options;
    this.#logger = logger;
    this.#traceparentOf = params.traceparentOf ?? (() => null);
    this.#admin = this.#client.createAdmin();
    this.#topics = new LaneTopics({ admin: this.#admin, options: params.options, logger });
    this.#loads = new LaneLoads({ admin: this.#admin, logger });
    this.lanes = {
      idleMs: params.options.laneIdleMs,
      prepare: ({ models }) => this.#prepare(models),
      remove: ({ models }) => this.#remove(models),
      problems: () => this.#laneHealth.problems(),
    };
    this.#checking = setInterval(() => void this.tick(), CHECK_INTERVAL_MS).unref();
    void this.tick();
  }

  /** @throws the first lane's reason, when not all lanes took theirs; the others have. */
  async publish({ offers, signal }: { offers: readonly Offer[]; signal?: AbortSignal }): Promise<void> {
    if (this.#closed) throw new Error('the Kafka publisher is closed');
    const lanes = Map.groupBy(offers, ({ model, priority }) => laneName(priority, model));
    const results = await Promise.allSettled(
      [...lanes].map(([lane, group]) => this.#publishLane(lane, group, signal)),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  health(): TransportHealth {
    if (this.#closed) return { state: 'down', reason: 'the Kafka publisher is closed' };
    if (this.#brokerProblem !== null) return { state: 'down', reason: `Kafka: ${this.#brokerProblem}` };
    const [failing] = this.#laneHealth.problems();
    if (failing !== undefined) {
      const reason = `Kafka: the last offers of lane ${failing.lane} were not taken: ${failing.reason}`;
      return { state: 'degraded', reason };
    }
    const topicProblem = this.#topics.problem();
    if (topicProblem !== null) return { state: 'degraded', reason: `Kafka: ${topicProblem}` };
    return { state: 'up', reason: null };
  }

  /** Asks the broker for the topics, every few seconds by itself; one that was deleted is made again. */
  async tick(): Promise<void> {
    this.#closeIdleProducers();
    try {
      await withDeadline(this.#topics.check(), { timeoutMs: CHECK_INTERVAL_MS, what: 'an answer' });
      if (this.#brokerProblem !== null) this.#laneHealth.retryAll();
      this.#brokerProblem = null;
    } catch (error) {
      if (this.#closed) return;
      const reason = reasonOf(error);
      this.#brokerProblem = reason;
      this.#limiter.limit('check', (suppressed) =>
        this.#logger.warn({ reason, suppressed }, 'Kafka does not answer'),
      );
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#checking);
    const producers = [...this.#producers.values()].map(({ producer }) => producer.close());
    const closing = Promise.allSettled([...producers, this.#admin.close()]);
    await withDeadline(closing, { timeoutMs: CLOSE_LIMIT_MS, what: 'closing' }).catch(() => {});
  }

  async #publishLane(lane: string, offers: readonly Offer[], signal: AbortSignal | undefined): Promise<void> {
    const model = offers[0]?.model ?? '';
    try {
      await withDeadline(this.#send(model, offers), {
        timeoutMs: this.#options.publishTimeoutMs,
        what: 'handing offers to Kafka',
        signal,
      });
      this.#brokerProblem = null;
      this.#laneHealth.arrived(lane);
    } catch (error) {
      if (signal?.aborted) throw error;
      // Its topics may have been deleted; the next publish looks.
      this.#topics.forget(model);
      const reason = reasonOf(error);
      this.#laneHealth.failed({ lane, model, reason });
      this.#limiter.limit('send', (suppressed) =>
        this.#logger.warn({ lane, reason, offers: offers.length, suppressed }, 'offers were not published'),
      );
      throw error;
    }
  }

  async #send(model: string, offers: readonly Offer[]): Promise<void> {
    const partitionCounts = await this.#topics.ensure(model);
    const records = offers.map((offer) => this.#place(offer, partitionCounts));
    await this.#producerOf(model).send({ records });
  }

  #place(offer: Offer, partitionCounts: ReadonlyMap<string, number>): RecordToSend {
    const { model, priority } = offer;
    const prefix = this.#options.topicPrefix;
    const topic = laneTopic({ prefix, priority, model });
    const partitions = partitionCounts.get(topic);
    if (partitions === undefined) throw new Error(`no partitions known of lane ${laneName(priority, model)}`);
    const partition = this.#loads.place(
      { topic, groupId: runnersGroup({ prefix, model }), partitions },
      (outstanding) => partitionFor(offer, partitions, outstanding),
    );
    return encodeOffer(offer, { topic, partition }, this.#traceparentOf(offer));
  }

  /** One a model: kafkajs looks up all topics of a producer at once, one after the other lookup. */
  #producerOf(model: string): KafkaProducer {
    const producer = this.#producers.get(model)?.producer ?? this.#client.createProducer();
    this.#producers.set(model, { producer, usedMs: performance.now() });
    return producer;
  }

  #closeIdleProducers(): void {
    const idleSinceMs = performance.now() - PRODUCER_IDLE_MS;
    for (const [model, { usedMs }] of this.#producers) if (usedMs < idleSinceMs) this.#closeProducer(model);
  }

  #closeProducer(model: string): void {
    this.#producers
      .get(model)
      ?.producer.close()
      .catch(() => {});
    this.#producers.delete(model);
  }

  async #prepare(models: readonly string[]): Promise<void> {
    const results = await Promise.allSettled(models.map((model) => this.#topics.ensure(model)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #remove(models: readonly string[]): Promise<void> {
    for (const model of models) {
      this.#closeProducer(model);
      this.#laneHealth.forgetModel(model);
      for (const topic of laneTopics({ prefix: this.#options.topicPrefix, model }).keys())
        this.#loads.forget(topic);
      await this.#topics.remove(model);
    }
  }
}
