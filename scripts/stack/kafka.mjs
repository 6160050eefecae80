// Apache Kafka as one KRaft process, broker and controller, on loopback.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { locateKafkaJars } from './kafka-jars.mjs';
import { lastLines, MissingPartError, waitUntilServing } from './part.mjs';
import { exchange } from './ports.mjs';
import { endProcess, run, startDetached } from './processes.mjs';

const MINIMUM_JAVA = 17;
const METADATA_REQUEST = metadataRequest();
/** Bytes of a Metadata answer up to and including the count of brokers: length, correlation id, count. */
const BROKER_COUNT_OFFSET = 8;
const LENGTH_TO_BROKER_COUNT = 12;

// A small heap, a collector and a compiler tier for a process that mostly idles.
const JVM_FLAGS = [
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-Dorg.slf4j.simpleLogger.showDateTime=true',
];

/** @type {import('./part.mjs').Part<{ java: string, jarDir: string }>} */
export const kafka = {
  name: 'kafka',
  portNames: ['client', 'controller'],
  createSecrets: () => ({}),

  async locate(context) {
    const { JAVA_HOME } = context.environment;
    const java = JAVA_HOME ? join(JAVA_HOME, 'bin/java') : 'java';
    const { code, stdout, stderr } = await run(java, ['-version']);
    const major = Number(/version "(\d+)/.exec(stdout + stderr)?.[1] ?? 0);
    if (code !== 0 || major < MINIMUM_JAVA) {
      const found = code === 0 ? `Java ${major} is too old` : `Java (${java}) is missing`;
      throw new MissingPartError(
        `kafka: ${found}: install a JDK >= ${MINIMUM_JAVA} (Debian: apt-get install -y openjdk-17-jre-headless), or set KAFKA_BROKERS`,
      );
    }
    return { java, jarDir: await locateKafkaJars(context) };
  },

  async start({ java, jarDir }, { context, ports, onSpawn }) {
    const jvm = { java, classPath: join(jarDir, '*') };
    await formatOnce(jvm, context, ports);
    const propertiesFile = join(context.dataDir, 'server.properties');
    writeFileSync(propertiesFile, serverProperties(ports, join(context.dataDir, 'log')));
    const server = await startDetached({
      command: java,
      argumentList: [
        '-Xms64m',
        '-Xmx256m',
        '-XX:+ExitOnOutOfMemoryError',
        ...JVM_FLAGS,
        '-cp',
        jvm.classPath,
        'kafka.Kafka',
        propertiesFile,
      ],
      directory: context.dataDir,
      logFile: context.logFile,
    });
    onSpawn(server.pid);
    await waitUntilServing({
      name: 'kafka',
      server,
      answers: () => kafka.answers(ports, {}),
      portTakenPattern: /failed to bind|Address already in use/i,
      explain: (log) => lastLines(log, /ERROR|FATAL|Exception/),
    });
    return server.pid;
  },

  isOurs: (context, commandLine) =>
    commandLine.includes(`kafka.Kafka ${join(context.dataDir, 'server.properties')}`),

  answers: async ({ client = 0 }) => (await countBrokers('127.0.0.1', client)) > 0,

  stop: (_context, pid) =>
    endProcess(pid, [
      { signal: 'SIGTERM', graceMs: 5_000 },
      { signal: 'SIGKILL', graceMs: 5_000 },
    ]),

  wipe: (context) => rmSync(context.dataDir, { recursive: true, force: true }),

  variables: ({ client }) => ({ BATCH_INFER_KAFKA_BROKERS: `127.0.0.1:${client}` }),

  async useExternal({ KAFKA_BROKERS: brokers }) {
    if (!brokers) return null;
    for (const broker of brokers.split(',')) {
      const [, host = '', port = ''] = /^\[?(.+?)\]?:(\d+)$/.exec(broker.trim()) ?? [];
      if (host !== '' && (await countBrokers(host, Number(port))) > 0) {
        return { BATCH_INFER_KAFKA_BROKERS: brokers };
      }
    }
    throw new MissingPartError(
      `kafka: no broker answers at KAFKA_BROKERS=${brokers}: start it, or unset the variable to use our own`,
    );
  },
};

/**
 * Formats the log folder unless that was done. Made beside and moved into place, so that an interrupted
 * format is not taken for a finished one.
 * @param {{ java: string, classPath: string }} jvm
 * @param {import('./part.mjs').PartContext} context
 * @param {Record<string, number>} ports
 */
async function formatOnce({ java, classPath }, { dataDir }, ports) {
  const logDir = join(dataDir, 'log');
  if (existsSync(join(logDir, 'meta.properties'))) return;
  const draftDir = join(dataDir, 'log.draft');
  for (const folder of [logDir, draftDir]) rmSync(folder, { recursive: true, force: true });
  mkdirSync(dataDir, { recursive: true });
  const propertiesFile = join(dataDir, 'format.properties');
  writeFileSync(propertiesFile, serverProperties(ports, draftDir));
  const clusterId = randomBytes(16).toString('base64url').replace(/^-/, 'A');
  const tool = ['kafka.tools.StorageTool', 'format', '--standalone', '-t', clusterId, '-c', propertiesFile];
  const { code, stdout, stderr } = await run(java, ['-Xmx64m', ...JVM_FLAGS, '-cp', classPath, ...tool]);
  if (code !== 0) {
    throw new Error(
      `kafka: its data folder cannot be formatted: ${lastLines(stdout + stderr, /error|exception/i)}`,
    );
  }
  renameSync(draftDir, logDir);
  rmSync(propertiesFile);
}

/**
 * @param {Record<string, number>} ports
 * @param {string} logDir
 */
function serverProperties({ client, controller }, logDir) {
  const listeners = `PLAINTEXT://127.0.0.1:${client},CONTROLLER://127.0.0.1:${controller}`;
  return `process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:${controller}
# Addresses, not names: localhost may be IPv6 first.
listeners=${listeners}
advertised.listeners=${listeners}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=${logDir}
num.partitions=12
auto.create.topics.enable=false
# One broker: every internal topic has one replica.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
log.retention.hours=24
# The defaults allocate 128 MiB at start, more than this heap.
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=131072
# After kill -9 a new process waits for the old registration to expire: 2 s instead of 9.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
`;
}

/**
 * How many brokers a Metadata request is answered with; 0 when nothing answers. TCP opens before the
 * broker serves, so a connection alone says nothing.
 * @param {string} host
 * @param {number} port
 */
async function countBrokers(host, port) {
  const answer = await exchange({
    host,
    port,
    message: METADATA_REQUEST,
    enough: (bytes) => bytes.length >= LENGTH_TO_BROKER_COUNT,
  });
  if (answer === null || answer.length < LENGTH_TO_BROKER_COUNT) return 0;
  return answer.readInt32BE(BROKER_COUNT_OFFSET);
}

/** Metadata, version 1, with an empty list of topics. */
function metadataRequest() {
  const clientId = Buffer.from('batch-infer-stack');
  const body = Buffer.alloc(14 + clientId.length);
  body.writeInt16BE(3, 0);
  body.writeInt16BE(1, 2);
  body.writeInt32BE(1, 4);
  body.writeInt16BE(clientId.length, 8);
  clientId.copy(body, 10);
  body.writeInt32BE(0, 10 + clientId.length);
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length);
  return Buffer.concat([length, body]);
}
