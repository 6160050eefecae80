import type { OfferHandler, OfferSubscriber, OfferSubscription, TransportHealth } from '../port.js';
import { DeadLetters } from './dead-letters.js';
import { withDeadline } from './deadline.js';
import type { KafkaAdmin, KafkaClient } from './kafka-client.js';
import { type KafkaLogger, silentKafkaLogger } from './kafka-logger.js';
import type { KafkaOptions } from './kafka-options.js';
import { createKafkajsClient } from './kafkajs-client.js';
import { LanePauses } from './lane-pauses.js';
import { ModelConsumer } from './model-consumer.js';
import { OfferReader, type TraceRunner } from './offer-reader.js';
import { PriorityGate } from './priority-gate.js';
import { deadTopic, laneTopics, runnersGroup } from './topic-names.js';

const CLOSE_LIMIT_MS = 2_000;
const SEVERITY: readonly TransportHealth['state'][] = ['up', 'degraded', 'down'];

export interface KafkaSubscriberParams {
  readonly options: KafkaOptions;
  readonly logger?: KafkaLogger;
  /** Continues the trace that an offer was published in, when it has one. */
  readonly withTraceparent?: TraceRunner;
  /** Another client than kafkajs. */
  readonly client?: KafkaClient;
}

/** The runner's side: reads the lanes of its models, in one consumer group a model with all runners that serve it. */
export function createKafkaSubscriber(params: KafkaSubscriberParams): OfferSubscriber {
  const logger = params.logger ?? silentKafkaLogger;
  const client = params.client ?? createKafkajsClient(params.options, logger);
  return {
    subscribe: async ({ models, handle, paused = false }) =>
      new KafkaSubscription({
        models,
        handle,
        paused,
        client,
        prefix: params.options.topicPrefix,
        withTraceparent: params.withTraceparent ?? null,
        logger,
      }),
  };
}

interface KafkaSubscriptionParams {
  readonly models: readonly string[];
  readonly handle: OfferHandler;
  readonly paused: boolean;
  readonly client: KafkaClient;
  readonly prefix: string;
  readonly withTraceparent: TraceRunner | null;
  readonly logger: KafkaLogger;
}

interface ModelReading {
  readonly consumer: ModelConsumer;
  readonly pauses: LanePauses;
}

class KafkaSubscription implements OfferSubscription {
  readonly #gate: PriorityGate;
  readonly #admin: KafkaAdmin;
  readonly #deadLetters: DeadLetters;
  readonly #readings: readonly ModelReading[];
  #closed = false;

  constructor(params: KafkaSubscriptionParams) {
    const { client, prefix, logger } = params;
    this.#gate = new PriorityGate({ open: !params.paused });
    this.#admin = client.createAdmin();
    this.#deadLetters = new DeadLetters({ client, logger, topic: deadTopic({ prefix }) });
    this.#readings = [...new Set(params.models)].map((model) => this.#readModel(model, params));
  }

  pause(): void {
    this.#gate.shut();
    for (const { pauses } of this.#readings) pauses.pauseAll();
  }

  resume(): void {
    if (this.#closed) return;
    this.#gate.open();
    for (const { pauses } of this.#readings) pauses.resumeAll();
  }

  /** That of the model that fares worst. */
  health(): TransportHealth {
    const all = this.#readings.map(({ consumer }) => consumer.health());
    const worst = SEVERITY[Math.max(0, ...all.map(({ state }) => SEVERITY.indexOf(state)))];
    return all.find(({ state }) => state === worst) ?? { state: 'up', reason: null };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#gate.shut();
    for (const { pauses } of this.#readings) pauses.close();
    await Promise.all(this.#readings.map(({ consumer }) => consumer.close()));
    const others = Promise.allSettled([this.#admin.close(), this.#deadLetters.close()]);
    await withDeadline(others, { timeoutMs: CLOSE_LIMIT_MS, what: 'closing' }).catch(() => {});
  }

  #readModel(model: string, params: KafkaSubscriptionParams): ModelReading {
    const { client, prefix, logger, handle, withTraceparent } = params;
    const lanes = laneTopics({ prefix, model });
    const pauses = new LanePauses({ all: params.paused, onChange: () => consumer.applyPauses() });
    const reader = new OfferReader({
      model,
      lanes,
      gate: this.#gate,
      pauses,
      handle,
      withTraceparent,
      bury: (record, place) => this.#deadLetters.bury(record, place),
      logger,
    });
    const consumer = new ModelConsumer({
      model,
      groupId: runnersGroup({ prefix, model }),
      lanes,
      client,
      admin: this.#admin,
      reader,
      pauses,
      logger,
    });
    return { consumer, pauses };
  }
}
