import { describe, expect, it } from 'vitest';
import { judgeConsumer } from './watchdog.js';

describe('the watchdog of a consumer', () => {
  it.each([
    { sinceFetchMs: 300, brokerAnswers: true, verdict: 'well' },
    { sinceFetchMs: 15_000, brokerAnswers: null, verdict: 'well' },
    { sinceFetchMs: 15_001, brokerAnswers: true, verdict: 'doubtful' },
    { sinceFetchMs: 30_001, brokerAnswers: true, verdict: 'replace' },
    // The broker is away: kafkajs comes back by itself, and a new consumer could do no better.
    { sinceFetchMs: 600_000, brokerAnswers: false, verdict: 'doubtful' },
    { sinceFetchMs: 600_000, brokerAnswers: null, verdict: 'doubtful' },
  ] as const)(
    'finds it $verdict after $sinceFetchMs ms without a fetch, broker answering: $brokerAnswers',
    (row) => {
      expect(judgeConsumer(row)).toBe(row.verdict);
    },
  );
});
