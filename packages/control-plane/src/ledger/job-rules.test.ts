import { itemError } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { ItemOutcome } from '../ports/records.js';
import {
  GROUP_MESSAGE_CHARS,
  isComplete,
  isOverErrorLimit,
  MAX_ERROR_GROUPS,
  mergeErrorGroups,
  neverRunStatus,
  sumUsage,
} from './job-rules.js';
import { outcomeOf, range } from './world-conformance.js';

const failure = (index: number, message: string): ItemOutcome => ({
  ...outcomeOf(index, false),
  error: itemError('invalid_request', message),
});

describe('error groups', () => {
  it('count by code and message, with the first item as the sample', () => {
    const once = mergeErrorGroups([], [failure(3, 'a'), outcomeOf(4), failure(5, 'b'), failure(6, 'a')]);
    expect(once).toEqual([
      { code: 'invalid_request', message: 'a', count: 2, sample: { index: 3, custom_id: 'item-3' } },
      { code: 'invalid_request', message: 'b', count: 1, sample: { index: 5, custom_id: 'item-5' } },
    ]);
    expect(mergeErrorGroups(once, [failure(9, 'b')])[1]).toMatchObject({ count: 2, sample: { index: 5 } });
  });

  it('stay few and short when every message differs, and count every failure', () => {
    const failures = range(0, 500).map((index) => failure(index, `${index} ${'x'.repeat(1_000)}`));
    const groups = mergeErrorGroups(mergeErrorGroups([], failures.slice(0, 200)), failures.slice(200));
    expect(groups).toHaveLength(MAX_ERROR_GROUPS);
    expect(groups.reduce((sum, { count }) => sum + count, 0)).toBe(500);
    expect(Math.max(...groups.map(({ message }) => message.length))).toBe(GROUP_MESSAGE_CHARS);
    expect(groups.at(-1)).toMatchObject({ code: 'other', count: 500 - MAX_ERROR_GROUPS + 1 });
  });
});

describe('usage', () => {
  it('is summed, items without it left out', () => {
    expect(sumUsage([outcomeOf(0), { ...outcomeOf(1), usage: null }, outcomeOf(2)])).toEqual({
      inputTokens: 20,
      cachedInputTokens: 8,
      outputTokens: 10,
      reasoningTokens: 2,
    });
  });
});

describe('the error limit', () => {
  it.each([
    { maxErrorRate: null, succeeded: 0, failed: 1_000, over: false },
    { maxErrorRate: 0.1, succeeded: 0, failed: 19, over: false },
    { maxErrorRate: 0.1, succeeded: 18, failed: 2, over: false },
    { maxErrorRate: 0.1, succeeded: 17, failed: 3, over: true },
    { maxErrorRate: 0, succeeded: 19, failed: 1, over: true },
    { maxErrorRate: 1, succeeded: 0, failed: 1_000, over: false },
  ])('of $maxErrorRate with $failed failed and $succeeded succeeded is over: $over', ({ over, ...job }) => {
    expect(isOverErrorLimit(job)).toBe(over);
  });
});

describe('a job', () => {
  it('is complete when every item has ended or was left out', () => {
    expect(isComplete({ total: 5, succeeded: 2, failed: 1, excluded: 1 })).toBe(false);
    expect(isComplete({ total: 5, succeeded: 2, failed: 1, excluded: 2 })).toBe(true);
  });

  it('counts never-run items as expired only when its time ran out', () => {
    expect([neverRunStatus('expired'), neverRunStatus('error_limit'), neverRunStatus(null)]).toEqual([
      'expired',
      'cancelled',
      'cancelled',
    ]);
  });
});
