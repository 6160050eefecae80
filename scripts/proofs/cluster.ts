import { type EngineSim, startEngineSim } from '@batch-infer/testkit';
import { type RunningStack, startStack } from '../stack/index.mjs';
import { Client, type Item, idOfMarker, MODEL } from './client.js';
import { freePort, QUICK } from './harness.js';
import { type KafkaAdmin, openKafkaAdmin } from './kafka-admin.js';
import { launchRunner, launchServe, type Program } from './program.js';

export const CONTROL_PLANES = 2;
export const RUNNERS = 4;

const TOPIC_PREFIX = 'proof';
const SHORT_TIMES = {
  ...QUICK,
  BATCH_INFER_OFFER_TTL_MS: '2000',
  BATCH_INFER_KAFKA_TOPIC_PREFIX: TOPIC_PREFIX,
  BATCH_INFER_KAFKA_SESSION_TIMEOUT_MS: '6000',
};

/** Kafka, PostgreSQL and S3 for real, two control planes, four runners and two engines, all on this machine. */
export class Cluster {
  readonly parts: RunningStack;
  readonly engines: readonly EngineSim[];
  readonly servers: Program[] = [];
  readonly runners: Program[] = [];
  readonly #ports: readonly number[];
  readonly #extra = new Set<Program>();

  private constructor(parts: RunningStack, engines: readonly EngineSim[], ports: readonly number[]) {
    this.parts = parts;
    this.engines = engines;
    this.#ports = ports;
  }

  static async start(engine: { slots: number; serviceTimeMs: number }): Promise<Cluster> {
    const parts = await startStack();
    const engines = await Promise.all([1, 2].map(() => startEngineSim({ models: [MODEL], ...engine })));
    const ports = await Promise.all(Array.from({ length: CONTROL_PLANES }, () => freePort()));
    const cluster = new Cluster(parts, engines, ports);
    try {
      await Promise.all(ports.map((_, index) => cluster.startServer(index)));
      await cluster.startRunners();
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  client(server = 0): Client {
    return new Client(`http://127.0.0.1:${this.#ports[server]}`);
  }

  async startServer(index: number): Promise<void> {
    const environment = { ...SHORT_TIMES, ...this.parts.env };
    this.servers[index] = await launchServe(['--port', String(this.#ports[index])], environment);
  }

  async startRunner(index: number): Promise<void> {
    this.runners[index] = await this.#launchRunner(index);
  }

  async startRunners(): Promise<void> {
    await Promise.all(Array.from({ length: RUNNERS }, (_, index) => this.startRunner(index)));
  }

  async stopRunners(): Promise<void> {
    await Promise.all(this.runners.map((runner) => runner.stop()));
  }

  /** One that joins for a while. */
  async addRunner(index: number): Promise<Program> {
    const runner = await this.#launchRunner(index);
    this.#extra.add(runner);
    return runner;
  }

  async #launchRunner(index: number): Promise<Program> {
    const server = `http://127.0.0.1:${this.#ports[index % CONTROL_PLANES]}`;
    const engine = this.engines[Math.floor(index / 2) % this.engines.length];
    // A runner is handed neither database nor bucket.
    const brokers = this.parts.env.BATCH_INFER_KAFKA_BROKERS ?? '';
    const environment = { ...SHORT_TIMES, BATCH_INFER_KAFKA_BROKERS: brokers };
    return await launchRunner(['--server', server, '--engine-url', engine?.url ?? ''], environment);
  }

  kafka(): Promise<KafkaAdmin> {
    return openKafkaAdmin((this.parts.env.BATCH_INFER_KAFKA_BROKERS ?? '').split(','));
  }

  /** Topics of the offers. */
  async lanes(admin: KafkaAdmin): Promise<string[]> {
    return (await admin.listTopics()).filter((topic) => topic.startsWith(`${TOPIC_PREFIX}.offers.`));
  }

  /** How often the engines were asked for each of these items, and answered. */
  requests(items: readonly Item[]): Map<string, { received: number; completed: number }> {
    const seen = new Map(items.map((item) => [item.custom_id, { received: 0, completed: 0 }]));
    for (const record of this.engines.flatMap((engine) => engine.requests())) {
      const entry = seen.get(idOfMarker(record.marker));
      if (entry === undefined) continue;
      entry.received += record.received;
      entry.completed += record.completed;
    }
    return seen;
  }

  /** What the programs said last, for whoever looks for the cause of a failure. */
  lastWords(): string {
    const programs = [...this.servers, ...this.runners, ...this.#extra];
    return programs.map(({ name, talk }, index) => `${name} ${index}: …${talk().slice(-2_000)}`).join('\n');
  }

  async close(): Promise<void> {
    const programs = [...this.runners, ...this.#extra, ...this.servers];
    await Promise.all(programs.map((program) => program.crash()));
    await Promise.all(this.engines.map((engine) => engine.close()));
    await this.parts.stop();
  }
}
