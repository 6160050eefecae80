/** Offers over Kafka: a topic a lane, explicit partitions, offsets committed once an offer was claimed or refused. */
export type {
  KafkaAdmin,
  KafkaClient,
  KafkaConsumer,
  KafkaConsumerParams,
  KafkaProducer,
} from './kafka-client.js';
export type { KafkaLogger } from './kafka-logger.js';
export {
  type KafkaOptions,
  KafkaOptionsError,
  type KafkaSasl,
  type KafkaTls,
  parseKafkaOptions,
} from './kafka-options.js';
export { createKafkaPublisher, KafkaPublisher, type KafkaPublisherParams } from './kafka-publisher.js';
export { createKafkaSubscriber, type KafkaSubscriberParams } from './kafka-subscriber.js';
export type { TraceRunner } from './offer-reader.js';
