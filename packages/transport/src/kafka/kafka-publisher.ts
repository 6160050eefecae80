import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher, TransportHealth } from '../port.js';
import { withDeadline } from './deadline.js';
import type { KafkaAdmin, KafkaClient, KafkaProducer, RecordToSend } from './kafka-client.js';
import { type KafkaLogger, RateLimiter, reasonOf, silentKafkaLogger } from './kafka-logger.js';
import type { KafkaOptions } from './kafka-options.js';
import { createKafkajsClient } from './kafkajs-client.js';
import { LaneLoads } from './lane-load.js';
import { LaneTopics } from './lane-topics.js';
import { encodeOffer } from './offer-record.js';
import { partitionFor } from './partition-for.js';
import { laneTopic, runnersGroup } from './topic-names.js';

const CHECK_INTERVAL_MS = 5_000;
const CLOSE_LIMIT_MS = 2_000;
/** A failed publish is told of for this long, unless a later one succeeds. */
const SEND_PROBLEM_MS = 30_000;

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

export class KafkaPublisher implements OfferPublisher {
  readonly #options: KafkaOptions;
  readonly #logger: KafkaLogger;
  readonly #traceparentOf: (offer: Offer) => string | null;
  readonly #producer: KafkaProducer;
  readonly #admin: KafkaAdmin;
  readonly #topics: LaneTopics;
  readonly #loads: LaneLoads;
  readonly #limiter = new RateLimiter();
  readonly #checking: NodeJS.Timeout;
  #brokerProblem: string | null = 'has not answered yet';
  #sendProblem: { readonly reason: string; readonly atMs: number } | null = null;
  #closed = false;

  constructor(params: KafkaPublisherParams) {
    const logger = params.logger ?? silentKafkaLogger;
    const client = params.client ?? createKafkajsClient(params.options, logger);
    this.#options = params.options;
    this.#logger = logger;
    this.#traceparentOf = params.traceparentOf ?? (() => null);
    this.#producer = client.createProducer();
    this.#admin = client.createAdmin();
    this.#topics = new LaneTopics({ admin: this.#admin, options: params.options, logger });
    this.#loads = new LaneLoads({ admin: this.#admin, logger });
    this.#checking = setInterval(() => void this.tick(), CHECK_INTERVAL_MS).unref();
    void this.tick();
  }

  async publish({ offers, signal }: { offers: readonly Offer[]; signal?: AbortSignal }): Promise<void> {
    if (this.#closed) throw new Error('the Kafka publisher is closed');
    if (offers.length === 0) return;
    const models = [...new Set(offers.map(({ model }) => model))];
    try {
      await withDeadline(this.#send(offers, models), {
        timeoutMs: this.#options.publishTimeoutMs,
        what: 'handing offers to Kafka',
        signal,
      });
      this.#brokerProblem = null;
      this.#sendProblem = null;
    } catch (error) {
      if (signal?.aborted) throw error;
      // Their topics may have been deleted; the next publish looks.
      for (const model of models) this.#topics.forget(model);
      this.#sendProblem = { reason: reasonOf(error), atMs: performance.now() };
      this.#limiter.limit('send', (suppressed) =>
        this.#logger.warn(
          { reason: reasonOf(error), offers: offers.length, suppressed },
          'offers were not published',
        ),
      );
      throw error;
    }
  }

  /**
   * Makes the lanes of these models now. Optional, for when a runner appears: the runner is then in its group before
   * the first job comes, which otherwise waits about a second for that.
   */
  async prepareModels({ models }: { models: readonly string[] }): Promise<void> {
    await Promise.all(models.map((model) => this.#topics.ensure(model)));
  }

  health(): TransportHealth {
    if (this.#closed) return { state: 'down', reason: 'the Kafka publisher is closed' };
    if (this.#brokerProblem !== null) return { state: 'down', reason: `Kafka: ${this.#brokerProblem}` };
    const topicProblem = this.#topics.problem();
    if (this.#sendProblem !== null)
      return {
        state: 'degraded',
        reason: `Kafka: the last offers were not taken: ${this.#sendProblem.reason}`,
      };
    if (topicProblem !== null) return { state: 'degraded', reason: `Kafka: ${topicProblem}` };
    return { state: 'up', reason: null };
  }

  /** Asks the broker for the topics, every few seconds by itself; one that was deleted is made again. */
  async tick(): Promise<void> {
    try {
      await withDeadline(this.#topics.check(), { timeoutMs: CHECK_INTERVAL_MS, what: 'an answer' });
      this.#brokerProblem = null;
      if (this.#sendProblem !== null && performance.now() - this.#sendProblem.atMs > SEND_PROBLEM_MS)
        this.#sendProblem = null;
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
    const closing = Promise.allSettled([this.#producer.close(), this.#admin.close()]);
    await withDeadline(closing, { timeoutMs: CLOSE_LIMIT_MS, what: 'closing' }).catch(() => {});
  }

  async #send(offers: readonly Offer[], models: readonly string[]): Promise<void> {
    const partitionCounts = new Map<string, number>();
    for (const counts of await Promise.all(models.map((model) => this.#topics.ensure(model))))
      for (const [topic, count] of counts) partitionCounts.set(topic, count);
    await this.#producer.send({ records: offers.map((offer) => this.#place(offer, partitionCounts)) });
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
}
