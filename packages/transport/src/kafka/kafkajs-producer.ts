import { Partitioners, type Producer, type ProducerConfig, type TopicMessages } from 'kafkajs';
import type { KafkaProducer, RecordToSend } from './kafka-client.js';
import { type Connectable, KafkajsSession } from './kafkajs-session.js';

/** What is used of a kafkajs producer. */
export type ProducerConnection = Connectable & Pick<Producer, 'sendBatch'>;

/**
 * A kafkajs producer that is thrown away after a failure. kafkajs asks for the metadata of every topic it ever sent to
 * at once, so one deleted topic would fail all later sends; and a connection that failed once is made anew.
 */
export class KafkajsProducer implements KafkaProducer {
  readonly #limitMs: number;
  readonly #session: KafkajsSession<ProducerConnection>;

  constructor(
    kafka: { producer(config: ProducerConfig): ProducerConnection },
    { limitMs }: { limitMs: number },
  ) {
    this.#limitMs = limitMs;
    this.#session = new KafkajsSession(() =>
      kafka.producer({
        allowAutoTopicCreation: false,
        createPartitioner: Partitioners.DefaultPartitioner,
        // Short of the publisher's deadline, so that its reason is the broker's.
        retry: { initialRetryTime: 200, maxRetryTime: 1_000, retries: 4 },
      }),
    );
  }

  async send({ records }: { records: readonly RecordToSend[] }): Promise<void> {
    const dropped = await this.#send(records);
    if (dropped.length === 0) return;
    // With metadata from before their partitions were made: a new producer asks for it.
    this.#session.discard();
    if ((await this.#send(dropped)).length > 0) throw new Error('records for partitions that do not exist');
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  /**
   * @returns What was not sent: kafkajs passes over records for partitions that it has not heard of, and resolves all the
   * same; only the list of answers tells.
   */
  async #send(records: readonly RecordToSend[]): Promise<RecordToSend[]> {
    const answers = await this.#session.use(
      (producer) => producer.sendBatch({ acks: -1, topicMessages: groupByTopic(records) }),
      { timeoutMs: this.#limitMs, what: 'sending records' },
    );
    const sent = new Set(answers.map(({ topicName, partition }) => `${topicName}/${partition}`));
    return records.filter(({ topic, partition }) => !sent.has(`${topic}/${partition}`));
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
