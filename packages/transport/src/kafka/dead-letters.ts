import { withDeadline } from './deadline.js';
import type { KafkaClient, KafkaProducer, ReceivedRecord } from './kafka-client.js';
import { type KafkaLogger, RateLimiter, reasonOf } from './kafka-logger.js';

const SEND_LIMIT_MS = 5_000;

/**
 * Copies records that are no offers to the dead topic, whole, with headers that say why and where they came from. When
 * even that fails they are passed over: no offer is lost by it, and the lane must go on.
 */
export class DeadLetters {
  readonly #params: { client: KafkaClient; topic: string; logger: KafkaLogger };
  readonly #limiter = new RateLimiter();
  #producer: KafkaProducer | null = null;

  constructor(params: { client: KafkaClient; topic: string; logger: KafkaLogger }) {
    this.#params = params;
  }

  async bury(
    record: ReceivedRecord,
    place: { topic: string; partition: number; reason: string },
  ): Promise<void> {
    const { client, topic, logger } = this.#params;
    const origin = { topic: place.topic, partition: place.partition, offset: record.offset };
    this.#limiter.limit('undecodable', (suppressed) =>
      logger.warn({ ...origin, reason: place.reason, suppressed }, 'a Kafka record is no offer'),
    );
    this.#producer ??= client.createProducer();
    const copy = {
      topic,
      partition: 0,
      key: record.key,
      value: record.value,
      headers: {
        ...record.headers,
        'batch-infer-reason': place.reason,
        'batch-infer-topic': place.topic,
        'batch-infer-partition': String(place.partition),
        'batch-infer-offset': record.offset,
      },
    };
    try {
      await withDeadline(this.#producer.send({ records: [copy] }), {
        timeoutMs: SEND_LIMIT_MS,
        what: `a copy to ${topic}`,
      });
    } catch (error) {
      this.#limiter.limit('failed', (suppressed) =>
        logger.error(
          { ...origin, reason: reasonOf(error), suppressed },
          `no copy of it in ${topic}; passed over`,
        ),
      );
    }
  }

  async close(): Promise<void> {
    await this.#producer?.close();
  }
}
