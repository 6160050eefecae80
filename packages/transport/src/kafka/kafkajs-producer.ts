import { type Kafka, Partitioners, type Producer, type TopicMessages } from 'kafkajs';
import type { KafkaProducer, RecordToSend } from './kafka-client.js';

/**
 * A kafkajs producer that is thrown away after a failure. kafkajs asks for the metadata of every topic it ever sent to
 * at once, so one deleted topic would fail all later sends; and a connection that failed once is made anew.
 */
export class KafkajsProducer implements KafkaProducer {
  readonly #kafka: Kafka;
  #session: { readonly producer: Producer; readonly connected: Promise<void> } | null = null;

  constructor(kafka: Kafka) {
    this.#kafka = kafka;
  }

  async send({ records }: { records: readonly RecordToSend[] }): Promise<void> {
    const dropped = await this.#send(records);
    if (dropped.length === 0) return;
    // With metadata from before their partitions were made: a new producer asks for it.
    this.#discard();
    if ((await this.#send(dropped)).length > 0) throw new Error('records for partitions that do not exist');
  }

  /**
   * @returns What was not sent: kafkajs passes over records for partitions that it has not heard of, and resolves all the
   * same; only the list of answers tells.
   */
  async #send(records: readonly RecordToSend[]): Promise<RecordToSend[]> {
    const session = this.#open();
    try {
      await session.connected;
      const answers = await session.producer.sendBatch({ acks: -1, topicMessages: groupByTopic(records) });
      const sent = new Set(answers.map(({ topicName, partition }) => `${topicName}/${partition}`));
      return records.filter(({ topic, partition }) => !sent.has(`${topic}/${partition}`));
    } catch (error) {
      if (this.#session === session) this.#discard();
      throw error;
    }
  }

  #discard(): void {
    this.#session?.producer.disconnect().catch(() => {});
    this.#session = null;
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.producer.disconnect();
  }

  #open() {
    if (this.#session === null) {
      const producer = this.#kafka.producer({
        allowAutoTopicCreation: false,
        createPartitioner: Partitioners.DefaultPartitioner,
        // Short of the publisher's deadline, so that its reason is the broker's.
        retry: { initialRetryTime: 200, maxRetryTime: 1_000, retries: 4 },
      });
      this.#session = { producer, connected: producer.connect() };
    }
    return this.#session;
  }
}

function groupByTopic(records: readonly RecordToSend[]): TopicMessages[] {
  const groups = Map.groupBy(records, ({ topic }) => topic);
  return [...groups].map(([topic, group]) => ({
    topic,
    messages: group.map(({ partition, key, value, headers }) => ({
      partition,
      key,
      value,
      headers: { ...headers },
    })),
  }));
}
