import type { Admin, Kafka } from 'kafkajs';
import type { KafkaAdmin, TopicToCreate } from './kafka-client.js';
import { kafkaCodeOf } from './kafkajs-errors.js';

const NOT_READY_CODES: readonly (string | null)[] = ['UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE'];
/** `ConfigResourceTypes.TOPIC`, which kafkajs does not export to ES modules. */
const TOPIC_RESOURCE = 2;

interface Session {
  readonly admin: Admin;
  readonly connected: Promise<void>;
}

/** A kafkajs admin client that is thrown away after a failure: what it has cached may be the reason. */
export class KafkajsAdmin implements KafkaAdmin {
  readonly #kafka: Kafka;
  #session: Session | null = null;

  constructor(kafka: Kafka) {
    this.#kafka = kafka;
  }

  async countPartitions(topics: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const counts = (await this.#countAtOnce(topics)) ?? new Map<string, number>();
    if (counts.size === topics.length) return counts;
    // The answer for several topics is one error when one of them is missing: one by one then.
    for (const topic of topics) {
      const count = (await this.#countAtOnce([topic]))?.get(topic);
      if (count !== undefined) counts.set(topic, count);
    }
    return counts;
  }

  async createTopics(topics: readonly TopicToCreate[]): Promise<void> {
    // kafkajs first asks for all topics that this client ever read the lag of, and fails when one of them is gone.
    this.#discard();
    await this.#use((admin) =>
      admin.createTopics({
        // It throws for topics that were made well when several clients wait at once: leaders are polled for instead.
        waitForLeaders: false,
        topics: topics.map(({ topic, partitions, replicationFactor, settings }) => ({
          topic,
          numPartitions: partitions,
          replicationFactor,
          configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })),
        })),
      }),
    );
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

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.admin.disconnect();
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

  async #use<Result>(work: (admin: Admin) => Promise<Result>): Promise<Result> {
    const session = this.#open();
    try {
      await session.connected;
      return await work(session.admin);
    } catch (error) {
      if (this.#session === session) this.#discard();
      throw error;
    }
  }

  #discard(): void {
    this.#session?.admin.disconnect().catch(() => {});
    this.#session = null;
  }

  #open(): Session {
    if (this.#session === null) {
      const admin = this.#kafka.admin({ retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 2 } });
      this.#session = { admin, connected: admin.connect() };
    }
    return this.#session;
  }
}
