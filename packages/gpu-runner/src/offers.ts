import type { OfferSubscriber } from '@batch-infer/transport';
import type { RunnerConfig } from './config.js';
import { RunnerError } from './errors.js';
import type { RunnerLogger } from './logger.js';

export interface OfferSource {
  readonly config: RunnerConfig;
  readonly runnerId: string;
  /** What the control plane publishes offers over. */
  readonly transport: 'direct' | 'kafka';
  /** Shards worth asking for at once. */
  readonly wantedOffers: () => number;
  readonly logger: RunnerLogger;
}

/**
 * The transport that the control plane uses; its library is loaded only then.
 * @throws {RunnerError} `transport_mismatch`, `invalid_config`.
 */
export async function openOfferSubscriber(source: OfferSource): Promise<OfferSubscriber> {
  const { config, runnerId, transport, wantedOffers, logger } = source;
  if (transport === 'kafka') {
    if (config.kafkaBrokers.length === 0) {
      const next = 'give --kafka-brokers HOST:PORT,… or BATCH_INFER_KAFKA_BROKERS';
      throw new RunnerError(
        'transport_mismatch',
        `the control plane at ${config.serverUrl} sends offers over Kafka: ${next}`,
      );
    }
    const { createKafkaSubscriber, parseKafkaOptions } = await import('@batch-infer/transport/kafka');
    try {
      const options = parseKafkaOptions(config.kafkaEnvironment, {
        brokers: config.kafkaBrokers,
        clientId: runnerId,
      });
      return createKafkaSubscriber({ options, logger });
    } catch (error) {
      throw new RunnerError('invalid_config', error instanceof Error ? error.message : String(error), error);
    }
  }
  const { DirectSubscriber } = await import('@batch-infer/transport/direct');
  return new DirectSubscriber({
    serverUrl: config.serverUrl,
    runnerId,
    maxOffers: wantedOffers,
    ...(config.apiKey === null ? {} : { apiKey: config.apiKey }),
  });
}
