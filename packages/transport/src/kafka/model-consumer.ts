import type { Priority } from '@batch-infer/contracts';
import type { TransportHealth } from '../port.js';
import { sleep, withDeadline } from './deadline.js';
import type { KafkaAdmin, KafkaClient, KafkaConsumer } from './kafka-client.js';
import { type KafkaLogger, RateLimiter, reasonOf } from './kafka-logger.js';
import type { LanePauses } from './lane-pauses.js';
import type { OfferReader } from './offer-reader.js';
import { DOUBT_AFTER_MS, judgeConsumer } from './watchdog.js';

/** How soon a lane is noticed that the control plane has just made. */
const TOPIC_POLL_MS = 250;
/** How often it looks for a model's other lanes before it reads those that it has found. */
const MAX_PARTIAL_POLLS = 4;
const TICK_MS = 1_000;
const PROBE_INTERVAL_MS = 5_000;
const PROBE_LIMIT_MS = 5_000;
/** Of leaving the group: worth waiting for, since a member that does not leave keeps its partitions for a session. */
const CLOSE_LIMIT_MS = 5_000;
const MAX_BACKOFF_MS = 10_000;

export interface ModelConsumerParams {
  readonly model: string;
  readonly groupId: string;
  readonly lanes: ReadonlyMap<string, Priority>;
  readonly client: KafkaClient;
  /** The subscription's, shared: not closed here. */
  readonly admin: KafkaAdmin;
  readonly reader: OfferReader;
  readonly pauses: LanePauses;
  readonly logger: KafkaLogger;
}

/** Partition counts by topic, in order of priority. */
type Topics = ReadonlyMap<string, number>;

/** Why a consumer was given up. */
type End = 'closed' | 'crashed' | 'stalled' | 'topics changed';

/**
 * Keeps one consumer alive for one model: waits for its topics, reads them, and builds a new consumer when the old one
 * crashed for good, stalled, or reads other topics and partitions than there are now.
 */
export class ModelConsumer {
  readonly #params: ModelConsumerParams;
  readonly #limiter = new RateLimiter();
  readonly #closing = new AbortController();
  readonly #supervision: Promise<void>;
  #consumer: KafkaConsumer | null = null;
  #endLife: (end: End) => void = () => {};
  /** Topics that the consumer reads, with their partition counts; empty: none exist yet. */
  #topics: Topics = new Map();
  #brokerAnswers: boolean | null = null;
  #brokerProblem = '';
  #brokerAnswersSinceMs = Number.POSITIVE_INFINITY;
  #joined = false;
  #lastFetchMs = 0;
  #lastProbeMs = 0;

  constructor(params: ModelConsumerParams) {
    this.#params = params;
    this.#supervision = this.#supervise();
  }

  /** Tells the consumer of today what is paused. */
  applyPauses(): void {
    this.#consumer?.setPaused(this.#params.pauses.current());
  }

  health(): TransportHealth {
    if (this.#closed) return { state: 'down', reason: 'the subscription is closed' };
    if (this.#brokerAnswers === false) return { state: 'down', reason: `Kafka: ${this.#brokerProblem}` };
    if (this.#brokerAnswers === null) return { state: 'degraded', reason: 'Kafka has not answered yet' };
    // No job of this model was ever offered: nothing to read is nothing wrong.
    if (this.#topics.size === 0) return { state: 'up', reason: null };
    if (!this.#joined) return { state: 'degraded', reason: 'joining the Kafka consumer group' };
    const sinceFetchMs = performance.now() - this.#lastFetchMs;
    return sinceFetchMs > DOUBT_AFTER_MS
      ? { state: 'degraded', reason: `Kafka consumer: no fetch for ${Math.round(sinceFetchMs / 1_000)} s` }
      : { state: 'up', reason: null };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#endLife('closed');
    await this.#supervision;
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  async #supervise(): Promise<void> {
    let backoffMs = 0;
    while (!this.#closed) {
      if (backoffMs > 0) await sleep(backoffMs, this.#closing.signal);
      const topics = await this.#waitForTopics();
      if (this.#closed) return;
      const bornMs = performance.now();
      const end = await this.#live(topics);
      // The first replacement comes at once; one that dies young again and again must not hammer the broker.
      const diedYoung = performance.now() - bornMs < MAX_BACKOFF_MS && end !== 'topics changed';
      backoffMs = diedYoung ? Math.min(MAX_BACKOFF_MS, backoffMs * 2 || TOPIC_POLL_MS) : 0;
    }
  }

  async #waitForTopics(): Promise<Topics> {
    this.#topics = new Map();
    let partialPolls = 0;
    while (!this.#closed) {
      const topics = await this.#findTopics();
      if (topics !== null && this.#isWhole(topics)) return topics;
      // The lanes of a model are made together, but show up one by one.
      if (topics !== null && topics.size > 0) partialPolls += 1;
      if (topics !== null && partialPolls > MAX_PARTIAL_POLLS) return topics;
      await sleep(TOPIC_POLL_MS, this.#closing.signal);
    }
    return new Map();
  }

  #isWhole(topics: Topics): boolean {
    return topics.size === this.#params.lanes.size;
  }

  /** The life of one consumer, from its making to its leaving. */
  async #live(topics: Topics): Promise<End> {
    const { client, groupId, reader, pauses, logger, model } = this.#params;
    const { promise: ended, resolve } = Promise.withResolvers<End>();
    this.#endLife = resolve;
    this.#topics = topics;
    this.#joined = false;
    this.#lastFetchMs = performance.now();
    const consumer: KafkaConsumer = client.createConsumer({
      groupId,
      topics: [...topics.keys()],
      handleBatch: (batch) => reader.read(batch, consumer),
      onFetch: () => {
        if (isCurrent()) this.#lastFetchMs = performance.now();
      },
      onJoin: () => {
        if (!isCurrent()) return;
        this.#joined = true;
        reader.forgetUncommitted();
      },
      onCrash: (crash) => {
        if (isCurrent()) this.#onCrash(crash);
      },
    });
    // What is heard of a consumer that was given up says nothing about its successor.
    const isCurrent = () => this.#consumer === consumer;
    this.#consumer = consumer;
    consumer.setPaused(pauses.current());
    const ticking = setInterval(() => void this.#tick(consumer), TICK_MS);
    consumer.start().catch((error: unknown) => {
      if (isCurrent()) this.#onCrash({ error, restarts: false });
    });
    const end = await ended;
    clearInterval(ticking);
    this.#consumer = null;
    if (end !== 'closed') logger.warn({ model, end }, 'the Kafka consumer is replaced');
    reader.forgetUncommitted();
    await withDeadline(consumer.close(), {
      timeoutMs: CLOSE_LIMIT_MS,
      what: 'leaving the Kafka group',
    }).catch((error: unknown) =>
      logger.warn({ model, reason: reasonOf(error) }, 'the Kafka group was not left'),
    );
    return end;
  }

  #onCrash(crash: { error: unknown; restarts: boolean }): void {
    const { logger, model } = this.#params;
    const { restarts } = crash;
    this.#joined = false;
    this.#limiter.limit('crash', (suppressed) =>
      logger.warn(
        { model, restarts, reason: reasonOf(crash.error), suppressed },
        'the Kafka consumer crashed',
      ),
    );
    if (restarts) {
      // A deleted topic crashes it five times a second for as long as it is away: look, and stop it if that is why.
      this.#lastProbeMs = Number.NEGATIVE_INFINITY;
      return;
    }
    this.#endLife('crashed');
  }

  async #tick(consumer: KafkaConsumer): Promise<void> {
    const intervalMs = this.#isWhole(this.#topics) ? PROBE_INTERVAL_MS : TICK_MS;
    if (performance.now() - this.#lastProbeMs >= intervalMs) {
      const topics = await this.#findTopics();
      if (this.#consumer !== consumer) return;
      if (topics !== null && !areEqual(topics, this.#topics)) this.#endLife('topics changed');
      await this.#params.reader.commitLeftovers(consumer);
    }
    const nowMs = performance.now();
    const signs = {
      sinceFetchMs: nowMs - this.#lastFetchMs,
      brokerAnswersForMs: Math.max(0, nowMs - this.#brokerAnswersSinceMs),
    };
    if (judgeConsumer(signs) === 'replace') this.#endLife('stalled');
  }

  /** The model's topics that exist; `null` when the broker does not say. */
  async #findTopics(): Promise<Topics | null> {
    const { admin, lanes, logger, model } = this.#params;
    this.#lastProbeMs = performance.now();
    try {
      const known = await withDeadline(admin.countPartitions([...lanes.keys()]), {
        timeoutMs: PROBE_LIMIT_MS,
        what: 'an answer',
        signal: this.#closing.signal,
      });
      if (!this.#brokerAnswers) this.#brokerAnswersSinceMs = performance.now();
      this.#brokerAnswers = true;
      return new Map(
        [...lanes.keys()].flatMap((topic): [string, number][] => {
          const partitions = known.get(topic);
          return partitions === undefined ? [] : [[topic, partitions]];
        }),
      );
    } catch (error) {
      if (this.#closed) return null;
      this.#brokerAnswers = false;
      this.#brokerAnswersSinceMs = Number.POSITIVE_INFINITY;
      this.#brokerProblem = reasonOf(error);
      this.#limiter.limit('probe', (suppressed) =>
        logger.warn({ model, reason: this.#brokerProblem, suppressed }, 'Kafka does not answer'),
      );
      return null;
    }
  }
}

const areEqual = (left: Topics, right: Topics): boolean =>
  JSON.stringify([...left]) === JSON.stringify([...right]);
