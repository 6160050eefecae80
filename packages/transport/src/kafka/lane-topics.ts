import { setTimeout as delay } from 'node:timers/promises';
import { withDeadline } from './deadline.js';
import type { KafkaAdmin, TopicToCreate } from './kafka-client.js';
import { type KafkaLogger, reasonOf } from './kafka-logger.js';
import type { KafkaOptions } from './kafka-options.js';
import { deadTopic, laneTopics } from './topic-names.js';

const LEADER_POLL_MS = 50;
const DEAD_RETENTION_MS = 7 * 86_400_000;
const CLEANUP_POLICY = 'cleanup.policy';

/**
 * Makes the topics that are missing and waits until all of them have leaders.
 * @returns Partition counts, by topic; of those that existed before, as they are.
 */
async function ensureTopics(params: {
  admin: KafkaAdmin;
  topics: readonly TopicToCreate[];
  timeoutMs: number;
}): Promise<ReadonlyMap<string, number>> {
  const { admin, topics, timeoutMs } = params;
  const names = topics.map(({ topic }) => topic);
  const deadlineMs = performance.now() + timeoutMs;
  let known = await admin.countPartitions(names);
  if (known.size < names.length) await admin.createTopics(topics.filter(({ topic }) => !known.has(topic)));
  while (known.size < names.length) {
    known = await admin.countPartitions(names);
    if (known.size === names.length) break;
    if (performance.now() > deadlineMs) throw new Error('new Kafka topics have no leaders yet');
    await delay(LEADER_POLL_MS);
  }
  return known;
}

/** The topics that the control plane owns: three lanes a model, made together, and one for dead records. */
export class LaneTopics {
  readonly #params: { admin: KafkaAdmin; options: KafkaOptions; logger: KafkaLogger };
  readonly #ensured = new Map<string, Promise<ReadonlyMap<string, number>>>();
  /** By model: a setting that somebody else made and that does not fit. */
  readonly #problems = new Map<string, string>();

  constructor(params: { admin: KafkaAdmin; options: KafkaOptions; logger: KafkaLogger }) {
    this.#params = params;
  }

  /**
   * Partition counts of a model's lanes, by topic. Asks the broker once.
   * @throws when the broker does not make them in time, or as many models have lanes already as may.
   */
  ensure(model: string): Promise<ReadonlyMap<string, number>> {
    const known = this.#ensured.get(model);
    if (known !== undefined) return known;
    const { options } = this.#params;
    if (this.#ensured.size >= options.maxModels) {
      return Promise.reject(
        new Error(
          `${options.maxModels} models have lanes already (BATCH_INFER_KAFKA_MAX_MODELS); raise it, or serve fewer models`,
        ),
      );
    }
    const ensuring = withDeadline(this.#ensure(model), {
      timeoutMs: options.publishTimeoutMs,
      what: 'making the Kafka topics of a model',
    });
    this.#ensured.set(model, ensuring);
    ensuring.catch(() => {
      if (this.#ensured.get(model) === ensuring) this.forget(model);
    });
    return ensuring;
  }

  /** Asks the broker again next time: the topics may have been deleted. */
  forget(model: string): void {
    this.#ensured.delete(model);
  }

  /** Deletes the lanes of a model, and nothing that is not exactly a lane's name. */
  async remove(model: string): Promise<void> {
    this.forget(model);
    this.#problems.delete(model);
    await this.#params.admin.deleteTopics(this.#namesOf(model));
  }

  /**
   * Looks whether all topics are still there, and with how many partitions, and makes again what is not. Rejects when the
   * broker does not answer; a model whose topics cannot be read or made has a problem of its own.
   */
  async check(): Promise<void> {
    const { admin, logger } = this.#params;
    const dead = this.#deadTopic().topic;
    const models = [...this.#ensured.keys()];
    const names = models.flatMap((model) => this.#namesOf(model));
    const known = await admin.countPartitions([dead, ...names]).catch(async (error: unknown) => {
      // One topic that may not be read fails the answer for all. Without this the broker would count as down for it.
      if (names.length === 0) throw error;
      await admin.countPartitions([dead]);
      return null;
    });
    if (known === null) return;
    for (const model of models) {
      if (this.#namesOf(model).every((topic) => known.has(topic))) {
        this.#ensured.set(model, Promise.resolve(known));
        continue;
      }
      logger.warn({ model }, 'Kafka topics of a model are missing; making them again');
      this.forget(model);
      // Not waited for: the next offer of the model meets what is wrong with it.
      this.ensure(model).catch(() => {});
    }
  }

  /** What is wrong with topics that exist, for health. */
  problem(): string | null {
    return this.#problems.values().next().value ?? null;
  }

  async #ensure(model: string): Promise<ReadonlyMap<string, number>> {
    const { admin, options } = this.#params;
    const topics = this.#topicsOf(model);
    const before = await admin.countPartitions(topics.map(({ topic }) => topic));
    const known = await ensureTopics({
      admin,
      topics: [...topics, this.#deadTopic()],
      timeoutMs: options.publishTimeoutMs,
    });
    await this.#checkSettings(model, [...before.keys()]);
    return known;
  }

  async #checkSettings(model: string, topics: readonly string[]): Promise<void> {
    this.#problems.delete(model);
    if (topics.length === 0) return;
    const { admin, logger } = this.#params;
    try {
      const settings = await admin.readSettings(topics, [CLEANUP_POLICY]);
      for (const [topic, { [CLEANUP_POLICY]: policy }] of settings) {
        if (policy === 'delete') continue;
        const problem = `topic ${topic} has ${CLEANUP_POLICY}=${policy}: set it to delete, or it grows for ever`;
        logger.warn({ topic, policy }, problem);
        this.#problems.set(model, problem);
      }
    } catch (error) {
      // Reading settings needs a permission of its own; offers travel without it.
      logger.debug({ model, reason: reasonOf(error) }, 'the settings of Kafka topics were not read');
    }
  }

  #namesOf(model: string): string[] {
    return [...laneTopics({ prefix: this.#params.options.topicPrefix, model }).keys()];
  }

  #topicsOf(model: string): TopicToCreate[] {
    const { options } = this.#params;
    return this.#namesOf(model).map((topic) => ({
      topic,
      partitions: options.partitions,
      replicationFactor: options.replicationFactor,
      settings: { ...this.#commonSettings(), 'retention.ms': String(options.retentionMs) },
    }));
  }

  #deadTopic(): TopicToCreate {
    const { options } = this.#params;
    return {
      topic: deadTopic({ prefix: options.topicPrefix }),
      partitions: 1,
      replicationFactor: options.replicationFactor,
      settings: { ...this.#commonSettings(), 'retention.ms': String(DEAD_RETENTION_MS) },
    };
  }

  #commonSettings(): Record<string, string> {
    const { minInsyncReplicas } = this.#params.options;
    return {
      [CLEANUP_POLICY]: 'delete',
      ...(minInsyncReplicas !== null && { 'min.insync.replicas': String(minInsyncReplicas) }),
    };
  }
}
