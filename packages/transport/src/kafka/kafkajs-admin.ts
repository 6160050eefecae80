import type { Admin, AdminConfig } from 'kafkajs';
import type { KafkaAdmin, TopicToCreate } from './kafka-client.js';
import { kafkaCodeOf } from './kafkajs-errors.js';
import { type Connectable, KafkajsSession } from './kafkajs-session.js';
import { retryPassing } from './retry-passing.js';

const MISSING_CODE = 'UNKNOWN_TOPIC_OR_PARTITION';
const NOT_READY_CODES: readonly (string | null)[] = [MISSING_CODE, 'LEADER_NOT_AVAILABLE'];
/** `ConfigResourceTypes.TOPIC`, which kafkajs does not export to ES modules. */
const TOPIC_RESOURCE = 2;

/** What is used of a kafkajs admin. */
export type AdminConnection = Connectable &
  Pick<
    Admin,
    | 'createTopics'
    | 'deleteTopics'
    | 'describeConfigs'
    | 'fetchOffsets'
    | 'fetchTopicMetadata'
    | 'fetchTopicOffsets'
  >;

/**
 * The admin client on kafkajs. What a broker says while it comes back is asked again; every call ends in `limitMs`.
 */
export class KafkajsAdmin implements KafkaAdmin {
  readonly #open: () => AdminConnection;
  readonly #limitMs: number;
  readonly #session: KafkajsSession<AdminConnection>;

  constructor(kafka: { admin(config: AdminConfig): AdminConnection }, { limitMs }: { limitMs: number }) {
    this.#open = () => kafka.admin({ retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 2 } });
    this.#limitMs = limitMs;
    this.#session = new KafkajsSession(this.#open);
  }

  async countPartitions(topics: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (topics.length === 0) return new Map();
    const counts = await this.#countAtOnce(topics);
    if (counts !== null && (counts.size === topics.length || topics.length === 1)) return counts;
    if (topics.length === 1) return new Map();
    // The answer for several topics is one error when one of them is missing: halves, until it is found.
    const middle = Math.ceil(topics.length / 2);
    const left = await this.countPartitions(topics.slice(0, middle));
    const right = await this.countPartitions(topics.slice(middle));
    return new Map([...left, ...right]);
  }

  async createTopics(topics: readonly TopicToCreate[]): Promise<void> {
    await this.#useAlone('making topics', (admin) =>
      admin.createTopics({
        // It throws for topics that were made well when several clients wait at once: leaders are polled for instead.
        waitForLeaders: false,
        timeout: this.#limitMs,
        topics: topics.map(({ topic, partitions, replicationFactor, settings }) => ({
          topic,
          numPartitions: partitions,
          replicationFactor,
          configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })),
        })),
      }),
    );
  }

  async deleteTopics(topics: readonly string[]): Promise<void> {
    // One by one: a missing one would fail the others.
    for (const topic of topics) {
      await this.#useAlone('deleting a topic', (admin) =>
        admin.deleteTopics({ topics: [topic], timeout: this.#limitMs }),
      ).catch((error: unknown) => {
        if (kafkaCodeOf(error) !== MISSING_CODE) throw error;
      });
    }
  }

  async readSettings(
    topics: readonly string[],
    names: readonly string[],
  ): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
    const { resources } = await this.#use((admin) =>
      admin.describeConfigs({
        includeSynonyms: false,
        resources: topics.map((name) => ({ type: TOPIC_RESOURCE, name, configNames: [...names] })),
      }),
    );
    return new Map(
      resources.map(({ resourceName, configEntries }) => [
        resourceName,
        Object.fromEntries(configEntries.map(({ configName, configValue }) => [configName, configValue])),
      ]),
    );
  }

  async readLag({ topic, groupId }: { topic: string; groupId: string }): Promise<readonly number[]> {
    const [bounds, committed] = await this.#use((admin) =>
      Promise.all([admin.fetchTopicOffsets(topic), admin.fetchOffsets({ groupId, topics: [topic] })]),
    );
    const positions = new Map(
      committed[0]?.partitions.map(({ partition, offset }) => [partition, Number(offset)]),
    );
    const lag: number[] = [];
    for (const { partition, low, high } of bounds) {
      // Below the oldest record, or -1 without a commit: the group begins at the oldest.
      lag[partition] = Math.max(0, Number(high) - Math.max(Number(low), positions.get(partition) ?? -1));
    }
    return lag;
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  /** `null` when one of the topics is missing or has no leaders yet. */
  async #countAtOnce(topics: readonly string[]): Promise<Map<string, number> | null> {
    const count = () =>
      this.#use(async (admin): Promise<Map<string, number> | null> => {
        try {
          const metadata = await admin.fetchTopicMetadata({ topics: [...topics] });
          const ready = metadata.topics.filter(({ partitions }) =>
            partitions.every(({ leader }) => leader >= 0),
          );
          return new Map(ready.map(({ name, partitions }) => [name, partitions.length]));
        } catch (error) {
          if (NOT_READY_CODES.includes(kafkaCodeOf(error))) return null;
          throw error;
        }
      });
    // Of a topic that it has seen and that was deleted since, a client with a cache says only that all brokers failed.
    return count().catch(count);
  }

  #use<Result>(work: (admin: AdminConnection) => Promise<Result>): Promise<Result> {
    return retryPassing((leftMs) => this.#session.use(work, { timeoutMs: leftMs, what: 'an answer' }), {
      withinMs: this.#limitMs,
    });
  }

  /**
   * In a connection of its own. A broker answers the questions of a connection one after the other: the others would wait
   * for a controller that takes long. And kafkajs first asks for all topics that a client ever read the lag of, and fails
   * when one of them is gone.
   */
  async #useAlone<Result>(what: string, work: (admin: AdminConnection) => Promise<Result>): Promise<Result> {
    const session = new KafkajsSession(this.#open);
    try {
      return await retryPassing((leftMs) => session.use(work, { timeoutMs: leftMs, what }), {
        withinMs: this.#limitMs,
      });
    } finally {
      session.discard();
    }
  }
}
