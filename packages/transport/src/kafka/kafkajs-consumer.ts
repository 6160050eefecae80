import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import type {
  KafkaConsumer,
  KafkaConsumerParams,
  KafkaHeaders,
  PartitionPosition,
  PausedPartitions,
} from './kafka-client.js';

/** An answer for every partition with few records: a full runner does not fetch what it leaves to be fetched again. */
const MAX_BYTES_PER_PARTITION = 16 * 1024;
/** How late a resume may take effect, and the idle cost: four fetches a second. */
const MAX_WAIT_MS = 250;
const REBALANCE_TIMEOUT_MS = 15_000;
/** Of handlers at once: more than partitions of all lanes of a model, usually. */
const CONCURRENT_PARTITIONS = 64;

interface KafkajsConsumerOptions {
  readonly sessionTimeoutMs: number;
  readonly retries: number;
  /** A client for this consumer alone, which stops trying to connect once it is closed. */
  openKafka(isClosed: () => boolean): Kafka;
}

/** A kafkajs consumer with manual commits. It begins again by itself after most crashes, until it was closed. */
export class KafkajsConsumer implements KafkaConsumer {
  readonly #consumer: Consumer;
  readonly #params: KafkaConsumerParams;
  readonly #heartbeatIntervalMs: number;
  #paused: PausedPartitions = { all: false, partitions: [] };
  #closed = false;
  /** Grows with every join: with several brokers, one may be read while a rebalance goes on at another. */
  #generation = 0;
  /** Of the newest batch: it belongs to the newest of the groups that kafkajs joins after each crash. */
  #commitOffsets: EachBatchPayload['commitOffsetsIfNecessary'] | null = null;

  constructor(params: KafkaConsumerParams, options: KafkajsConsumerOptions) {
    const { sessionTimeoutMs, retries, openKafka } = options;
    const kafka = openKafka(() => this.#closed);
    this.#params = params;
    this.#heartbeatIntervalMs = sessionTimeoutMs / 5;
    this.#consumer = kafka.consumer({
      groupId: params.groupId,
      sessionTimeout: sessionTimeoutMs,
      heartbeatInterval: this.#heartbeatIntervalMs,
      rebalanceTimeout: REBALANCE_TIMEOUT_MS,
      maxWaitTimeInMs: MAX_WAIT_MS,
      minBytes: 1,
      maxBytesPerPartition: MAX_BYTES_PER_PARTITION,
      allowAutoTopicCreation: false,
      retry: {
        initialRetryTime: 200,
        maxRetryTime: 1_000,
        retries,
        restartOnFailure: async () => !this.#closed,
      },
    });
    const { events } = this.#consumer;
    this.#consumer.on(events.FETCH, () => params.onFetch());
    this.#consumer.on(events.GROUP_JOIN, () => this.#onJoin());
    this.#consumer.on(events.CRASH, ({ payload: { error, restart } }) =>
      params.onCrash({ error, restarts: restart && !this.#closed }),
    );
  }

  async start(): Promise<void> {
    const { topics } = this.#params;
    await this.#consumer.connect();
    this.#throwIfClosed();
    // From the beginning, always: at an offset out of range the default, the end, would skip offers.
    await this.#consumer.subscribe({ topics: [...topics], fromBeginning: true });
    this.#throwIfClosed();
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: CONCURRENT_PARTITIONS,
      eachBatch: (payload) => this.#handle(payload),
    });
  }

  setPaused(paused: PausedPartitions): void {
    this.#paused = paused;
    this.#applyPaused();
  }

  async commit(positions: readonly PartitionPosition[]): Promise<void> {
    if (this.#commitOffsets === null || positions.length === 0) return;
    const byTopic = Map.groupBy(positions, ({ topic }) => topic);
    await this.#commitOffsets({
      topics: [...byTopic].map(([topic, group]) => ({
        topic,
        partitions: group.map(({ partition, nextOffset }) => ({ partition, offset: nextOffset })),
      })),
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#consumer.disconnect();
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new Error('the consumer was closed while it started');
  }

  #onJoin(): void {
    this.#generation += 1;
    if (this.#closed) {
      // A restart that was under way while it was closed: out again, or this member keeps partitions that nobody reads.
      this.#consumer.disconnect().catch(() => {});
      return;
    }
    // After a crash kafkajs has forgotten what was paused.
    this.#applyPaused();
    this.#params.onJoin();
  }

  #applyPaused(): void {
    const topics = this.#params.topics.map((topic) => ({ topic }));
    try {
      // kafkajs mixes up pauses of topics with pauses of partitions: always begin with nothing paused.
      this.#consumer.resume(topics);
      if (this.#paused.all) this.#consumer.pause(topics);
      else
        this.#consumer.pause(
          this.#paused.partitions.map(({ topic, partition }) => ({ topic, partitions: [partition] })),
        );
    } catch {
      // It is not running: applied when it joins.
    }
  }

  async #handle(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const generation = this.#generation;
    let groupChanges = false;
    const isCurrent = () =>
      !this.#closed &&
      !groupChanges &&
      generation === this.#generation &&
      payload.isRunning() &&
      !payload.isStale();
    // A handler that waits for the control plane must not cost the membership. A rebalance shows itself here first.
    const beat = setInterval(() => {
      payload.heartbeat().catch(() => {
        groupChanges = true;
      });
    }, this.#heartbeatIntervalMs);
    this.#commitOffsets = payload.commitOffsetsIfNecessary;
    try {
      await this.#params.handleBatch({
        topic: batch.topic,
        partition: batch.partition,
        records: batch.messages.map(({ offset, key, value, headers }) => ({
          offset,
          key,
          value,
          headers: singleHeaders(headers ?? {}),
        })),
        isCurrent,
        // The position of another generation is not ours to move; kafkajs may not even know the partition any more.
        advance: (offset) => {
          if (generation === this.#generation) payload.resolveOffset(offset);
        },
      });
    } finally {
      clearInterval(beat);
    }
  }
}

type ReceivedHeaders = NonNullable<EachBatchPayload['batch']['messages'][number]['headers']>;

/** The first value of each header: repeated ones have no meaning here. */
const singleHeaders = (headers: ReceivedHeaders): KafkaHeaders =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]): [string, string | Buffer][] => {
      const first = Array.isArray(value) ? value[0] : value;
      return first === undefined ? [] : [[name, first]];
    }),
  );
