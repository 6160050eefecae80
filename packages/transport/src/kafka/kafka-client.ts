/**
 * What this transport needs of a Kafka client, and nothing more, so that another client can take the place of kafkajs.
 * Every call connects when it has to. Calls of the producer and the admin end by themselves, in time or with an error,
 * also when the broker has gone silent; what a broker says while it comes back is retried inside. Those of a consumer
 * promise no end: deadlines are the caller's.
 */
export interface KafkaClient {
  createProducer(): KafkaProducer;
  createConsumer(params: KafkaConsumerParams): KafkaConsumer;
  createAdmin(): KafkaAdmin;
}

export type KafkaHeaders = Readonly<Record<string, string | Buffer>>;

export interface RecordToSend {
  readonly topic: string;
  readonly partition: number;
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  readonly headers: KafkaHeaders;
}

export interface KafkaProducer {
  /** Resolves when every in-sync replica has the records (acks all). */
  send(params: { records: readonly RecordToSend[] }): Promise<void>;
  close(): Promise<void>;
}

export interface ReceivedRecord {
  /** A 64-bit integer in decimal. */
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: KafkaHeaders;
}

export interface ReceivedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly ReceivedRecord[];
  /** False once the rest of the batch is no longer this consumer's to handle: stop, it is delivered again. */
  isCurrent(): boolean;
  /** The next fetch begins after this record. A record that was not passed comes again with the next fetch. */
  advance(offset: string): void;
}

export interface PartitionPosition {
  readonly topic: string;
  readonly partition: number;
  /** Offset of the record to read next: the one after the last that is done with. */
  readonly nextOffset: string;
}

export interface PausedPartitions {
  readonly all: boolean;
  readonly partitions: readonly { readonly topic: string; readonly partition: number }[];
}

export interface KafkaConsumerParams {
  readonly groupId: string;
  /** Topics that exist. A group that has no position in one begins at its oldest record. */
  readonly topics: readonly string[];
  /** Batches of different partitions come at once; the next fetch waits for all of them. Never rejects. */
  handleBatch(batch: ReceivedBatch): Promise<void>;
  /** Every fetch answered, empty or not: the sign of life. */
  onFetch(): void;
  /** Joined the group, again after every rebalance: uncommitted positions are void now. */
  onJoin(): void;
  /** `restarts`: the client begins again by itself. */
  onCrash(crash: { readonly error: Error; readonly restarts: boolean }): void;
}

export interface KafkaConsumer {
  /** Resolves when the consumer was started; joining the group may take longer. */
  start(): Promise<void>;
  /** From now on, whatever the client does in between. Idempotent, allowed before `start`. */
  setPaused(paused: PausedPartitions): void;
  /** May reject at a rebalance; that never harms the consumer. */
  commit(positions: readonly PartitionPosition[]): Promise<void>;
  /** Leaves the group, after the batches in hand. Nothing is handled once it was called. */
  close(): Promise<void>;
}

export interface TopicToCreate {
  readonly topic: string;
  readonly partitions: number;
  /** -1: as the broker is configured. */
  readonly replicationFactor: number;
  readonly settings: Readonly<Record<string, string>>;
}

export interface KafkaAdmin {
  /** Partition count of each of these topics that exists and has its leaders. */
  countPartitions(topics: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Topics that exist already are left alone. Resolves before their partitions have leaders. */
  createTopics(topics: readonly TopicToCreate[]): Promise<void>;
  /** Topics that do not exist are passed over. */
  deleteTopics(topics: readonly string[]): Promise<void>;
  /** Settings in force, by topic. */
  readSettings(
    topics: readonly string[],
    names: readonly string[],
  ): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>>;
  /** Records of each partition that the group has not committed yet. */
  readLag(params: { topic: string; groupId: string }): Promise<readonly number[]>;
  close(): Promise<void>;
}
