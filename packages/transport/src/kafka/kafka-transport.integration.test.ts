import { randomUUID } from 'node:crypto';
import { transportConformance } from '@batch-infer/testkit/transport-conformance';
import { afterAll, describe } from 'vitest';
import { type RunningStack, startStack } from '../../../../scripts/stack/index.mjs';
import { createKafkaPublisher, createKafkaSubscriber, parseKafkaOptions } from './index.js';

const stack = await startBroker();

async function startBroker(): Promise<RunningStack | null> {
  try {
    return await startStack({ only: ['kafka'] });
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`\nSKIPPED: the Kafka transport is not tested: ${reason}\n\n`);
    return null;
  }
}

const optionsOf = () =>
  parseKafkaOptions({ ...stack?.env, BATCH_INFER_KAFKA_TOPIC_PREFIX: `t-${randomUUID().slice(0, 8)}` });

afterAll(() => stack?.stop());

describe.runIf(stack !== null)('over a real broker', () => {
  transportConformance('kafka', async () => {
    const options = optionsOf();
    const publisher = createKafkaPublisher({ options });
    return {
      publisher,
      subscriber: (runnerId) => createKafkaSubscriber({ options: { ...options, clientId: runnerId } }),
      close: () => publisher.close(),
    };
  });
});
