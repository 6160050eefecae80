import { createRequire } from 'node:module';

/** What the proofs do to a broker behind the product's back. */
export interface KafkaAdmin {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  listTopics(): Promise<string[]>;
  listGroups(): Promise<{ readonly groups: readonly { readonly groupId: string }[] }>;
  fetchTopicOffsets(topic: string): Promise<{ readonly partition: number; readonly high: string }[]>;
  deleteTopicRecords(params: {
    topic: string;
    partitions: readonly { readonly partition: number; readonly offset: string }[];
  }): Promise<void>;
  deleteTopics(params: { topics: readonly string[] }): Promise<void>;
  resetOffsets(params: { groupId: string; topic: string; earliest: boolean }): Promise<void>;
}

interface KafkajsModule {
  readonly Kafka: new (options: { brokers: readonly string[]; logLevel: number }) => { admin(): KafkaAdmin };
}

/** The client that the transport brings, which is no dependency of the proofs themselves. */
const fromTransport = createRequire(new URL('../../packages/transport/package.json', import.meta.url));

export async function openKafkaAdmin(brokers: readonly string[]): Promise<KafkaAdmin> {
  const { Kafka } = fromTransport('kafkajs') as KafkajsModule;
  const admin = new Kafka({ brokers, logLevel: 0 }).admin();
  await admin.connect();
  return admin;
}
