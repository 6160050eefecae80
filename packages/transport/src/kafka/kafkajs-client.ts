import { connect as connectTcp, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type ISocketFactory, Kafka, type KafkaConfig, logLevel, type SASLOptions } from 'kafkajs';
import type { KafkaClient } from './kafka-client.js';
import type { KafkaLogger } from './kafka-logger.js';
import type { KafkaOptions, KafkaSasl, KafkaTls } from './kafka-options.js';
import { KafkajsAdmin } from './kafkajs-admin.js';
import { KafkajsConsumer } from './kafkajs-consumer.js';
import { KafkajsProducer } from './kafkajs-producer.js';
import { patchRequestQueue } from './request-queue-patch.js';

/**
 * How often a connection is tried again, with delays of 0.2 to 1 s. Consumers ride out a minute: one that gives up and
 * joins again is a new member, who waits a whole session for the old one (8 retries: back 10 s after every outage of 8 s;
 * 60: after 1 s). What the silence hides, the watchdog's probe shows. Others have callers with deadlines, who are better
 * served by the broker's own reason.
 */
const CONSUMER_RETRIES = 60;
const OTHER_RETRIES = 3;

/** The client port on kafkajs 2.2.4, with the settings that survived broker kills, outages and rebalances. */
export function createKafkajsClient(options: KafkaOptions, logger: KafkaLogger): KafkaClient {
  patchRequestQueue();
  const brokers = [...options.brokers];
  const others = new Kafka(kafkajsConfig(options, logger, { brokers, retries: OTHER_RETRIES }));
  return {
    createProducer: () => new KafkajsProducer(others, { limitMs: options.publishTimeoutMs }),
    createConsumer: (params) =>
      new KafkajsConsumer(params, {
        sessionTimeoutMs: options.sessionTimeoutMs,
        retries: CONSUMER_RETRIES,
        // One each: consumers of one `Kafka` and one group share a cache of committed offsets, also with a predecessor.
        openKafka: (isClosed) =>
          new Kafka(
            kafkajsConfig(options, logger, {
              retries: CONSUMER_RETRIES,
              // Without brokers kafkajs stops trying; nothing else ends its retries, which keep the process alive.
              brokers: () => (isClosed() ? [] : brokers),
            }),
          ),
      }),
    createAdmin: () => new KafkajsAdmin(others, { limitMs: options.publishTimeoutMs }),
  };
}

function kafkajsConfig(
  options: KafkaOptions,
  logger: KafkaLogger,
  { brokers, retries }: { brokers: KafkaConfig['brokers']; retries: number },
): KafkaConfig {
  return {
    clientId: options.clientId,
    brokers,
    connectionTimeout: options.connectionTimeoutMs,
    socketFactory: openSocket,
    retry: { initialRetryTime: 200, maxRetryTime: 1_000, retries },
    ...(options.tls && { ssl: tlsConfig(options.tls) }),
    ...(options.sasl && { sasl: saslConfig(options.sasl) }),
    // It cries about every connection that breaks: what matters comes as events and rejections.
    logLevel: logLevel.WARN,
    logCreator: () => (entry) =>
      logger.debug(
        { component: entry.namespace, groupId: entry.log.groupId },
        `kafkajs: ${entry.log.message}`,
      ),
  };
}

const KEEP_ALIVE_DELAY_MS = 60_000;

/**
 * As kafkajs does it, without a limit on listeners: while a broker is away it ends the same unconnected socket again and
 * again, each time with one more listener, and Node warns of a leak that ends with the socket.
 */
const openSocket: ISocketFactory = ({ host, port, ssl, onConnect }) => {
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const socket = ssl
    ? connectTls({ host, port, ...servername, ...ssl }, onConnect)
    : connectTcp({ host, port }, onConnect);
  return socket.setMaxListeners(0).setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
};

const tlsConfig = (tls: KafkaTls) => ({
  ...(tls.ca !== null && { ca: [tls.ca] }),
  ...(tls.certificate !== null && { cert: tls.certificate }),
  ...(tls.key !== null && { key: tls.key }),
});

function saslConfig({ mechanism, username, password }: KafkaSasl): SASLOptions {
  switch (mechanism) {
    case 'plain':
      return { mechanism, username, password };
    case 'scram-sha-256':
      return { mechanism, username, password };
    case 'scram-sha-512':
      return { mechanism, username, password };
  }
}
