import { randomUUID } from 'node:crypto';
import { startStack } from '../../../scripts/stack/index.mjs';

export interface Kafka {
  /** Variables that send offers over it, in topics of their own at each call. */
  environment: () => Readonly<Record<string, string>>;
  stop: () => Promise<void>;
}

/** The broker of `BATCH_INFER_KAFKA_BROKERS`, else one of our own. @throws what is missing, and how to get it. */
export async function startKafka(say: (text: string) => void): Promise<Kafka> {
  const given = process.env.BATCH_INFER_KAFKA_BROKERS;
  const own = given === undefined ? await startStack({ only: ['kafka'], report: say }) : null;
  const brokers = given ?? own?.env.BATCH_INFER_KAFKA_BROKERS;
  if (brokers === undefined) throw new Error('Kafka was started, but says no address');
  return {
    environment: () => ({
      BATCH_INFER_KAFKA_BROKERS: brokers,
      BATCH_INFER_KAFKA_TOPIC_PREFIX: `bench-${randomUUID().slice(0, 8)}`,
    }),
    stop: async () => {
      await own?.stop();
    },
  };
}
