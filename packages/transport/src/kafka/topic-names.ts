import { createHash } from 'node:crypto';
import { PRIORITIES, type Priority } from '@batch-infer/contracts';

/** Kafka's own limit. */
const MAX_NAME_LENGTH = 249;
const HASH_LENGTH = 10;

/**
 * A model's name in Kafka's alphabet. The hash keeps apart what the alphabet or the length limit makes equal
 * (`a/b` and `a:b`).
 */
function safeModelName(model: string, maxLength: number): string {
  const hash = createHash('sha256').update(model).digest('hex').slice(0, HASH_LENGTH);
  const readable = model.replaceAll(/[^A-Za-z0-9._-]+/g, '-').slice(0, maxLength - HASH_LENGTH - 1);
  return `${readable}-${hash}`;
}

/** Topic of a lane: `<prefix>.offers.<priority>.<model>-<hash>`. */
export function laneTopic(params: { prefix: string; priority: Priority; model: string }): string {
  const start = `${params.prefix}.offers.${params.priority}.`;
  return start + safeModelName(params.model, MAX_NAME_LENGTH - start.length);
}

/** The topics of a model, highest priority first. */
export const laneTopics = (params: { prefix: string; model: string }): Map<string, Priority> =>
  new Map(PRIORITIES.map((priority) => [laneTopic({ ...params, priority }), priority]));

/**
 * Consumer group of all runners that serve a model. One group a model: members of one group with different topics
 * take partitions from each other that they do not read.
 */
export function runnersGroup(params: { prefix: string; model: string }): string {
  const start = `${params.prefix}.runners.`;
  return start + safeModelName(params.model, MAX_NAME_LENGTH - start.length);
}

/** Topic of records that are no offers. */
export const deadTopic = (params: { prefix: string }): string => `${params.prefix}.dead`;
