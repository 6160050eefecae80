import { describe, expect, it } from 'vitest';
import { judgeConsumer } from './watchdog.js';

describe('the watchdog of a consumer', () => {
  it.each([
    { sinceFetchMs: 300, brokerAnswersForMs: 90_000, verdict: 'well' },
    { sinceFetchMs: 15_000, brokerAnswersForMs: 0, verdict: 'well' },
    { sinceFetchMs: 15_001, brokerAnswersForMs: 90_000, verdict: 'doubtful' },
    { sinceFetchMs: 30_001, brokerAnswersForMs: 90_000, verdict: 'replace' },
    // The broker is away: kafkajs comes back by itself, and a new consumer could do no better.
    { sinceFetchMs: 600_000, brokerAnswersForMs: 0, verdict: 'doubtful' },
    // It has just come back, and the consumer is about to.
    { sinceFetchMs: 600_000, brokerAnswersForMs: 12_000, verdict: 'doubtful' },
    { sinceFetchMs: 600_000, brokerAnswersForMs: 30_001, verdict: 'replace' },
  ] as const)(
    'finds it $verdict after $sinceFetchMs ms without a fetch, the broker answering for $brokerAnswersForMs ms',
    (row) => {
      expect(judgeConsumer(row)).toBe(row.verdict);
    },
  );
});
