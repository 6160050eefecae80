import { describe, expect, it } from 'vitest';
import { deadTopic, laneTopic, laneTopics, runnersGroup } from './topic-names.js';

const topicOf = (model: string) => laneTopic({ prefix: 'batch-infer', priority: 'high', model });

describe('topic names', () => {
  it('are readable', () => {
    expect(topicOf('Qwen/Qwen3-8B')).toMatch(/^batch-infer\.offers\.high\.Qwen-Qwen3-8B-[0-9a-f]{10}$/);
    expect(runnersGroup({ prefix: 'batch-infer', model: 'm' })).toMatch(
      /^batch-infer\.runners\.m-[0-9a-f]{10}$/,
    );
    expect(deadTopic({ prefix: 'batch-infer' })).toBe('batch-infer.dead');
  });

  it('are legal for any model name', () => {
    const models = ['', ' ', '..', 'ü/模型:latest', 'x'.repeat(1_000), '\u0000\n', 'a'.repeat(500)];
    for (const model of models) {
      expect(topicOf(model)).toMatch(/^[A-Za-z0-9._-]{1,249}$/);
      expect(laneTopic({ prefix: 'p'.repeat(100), priority: 'normal', model })).toMatch(
        /^[A-Za-z0-9._-]{1,249}$/,
      );
    }
  });

  it('keep models apart that differ only in what Kafka does not allow, or late', () => {
    const models = ['a/b', 'a:b', 'a-b', `${'x'.repeat(400)}1`, `${'x'.repeat(400)}2`];
    expect(new Set(models.map(topicOf)).size).toBe(models.length);
  });

  it('list the lanes of a model, highest priority first', () => {
    expect([...laneTopics({ prefix: 'p', model: 'm' }).values()]).toEqual(['high', 'normal', 'low']);
  });
});
