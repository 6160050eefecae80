import { FAILURE_CODES, FAILURE_RULES } from '@batch-infer/contracts';
import { describe, expect, test } from 'vitest';
import { decideRetry, NO_HISTORY, noiseAllowance, type RetryQuestion } from './retry.js';

const question = (changes: Partial<RetryQuestion>): RetryQuestion => ({
  ...{
    code: 'engine_error',
    history: NO_HISTORY,
    maxAttempts: 3,
    excused: false,
    engineDied: false,
    alone: false,
  },
  reached: true,
  ...{ retryAfterMs: null, noise: 0, random: () => 0.5 },
  ...changes,
});
const charged = (count: number) => ({ ...NO_HISTORY, charged: count });

describe('whether an item runs again', () => {
  test.each(FAILURE_CODES.filter((code) => FAILURE_RULES[code].retry === 'final'))(
    '%s is final at once',
    (code) => {
      expect(decideRetry(question({ code }))).toEqual({ outcome: 'fail', attempts: 1 });
    },
  );

  test.each(FAILURE_CODES.filter((code) => FAILURE_RULES[code].retry === 'charged'))(
    '%s ends it at the last attempt',
    (code) => {
      expect(decideRetry(question({ code }))).toMatchObject({ outcome: 'retry', history: { charged: 1 } });
      expect(decideRetry(question({ code, history: charged(1) }))).toMatchObject({ outcome: 'retry' });
      expect(decideRetry(question({ code, history: charged(2) }))).toEqual({ outcome: 'fail', attempts: 3 });
      expect(decideRetry(question({ code, maxAttempts: 1 }))).toEqual({ outcome: 'fail', attempts: 1 });
    },
  );

  test('no room at the engine is never held against an item', () => {
    let history = charged(2);
    for (let refusals = 0; refusals < 500; refusals += 1) {
      const decision = decideRetry(question({ code: 'engine_overloaded', history }));
      if (decision.outcome === 'fail') throw new Error('it was given up');
      history = decision.history;
    }
    expect(history.charged).toBe(2);
  });

  test('no room for one item only, while others are taken, counts in the end, and no hint holds it for long', () => {
    let history = NO_HISTORY;
    let sends = 0;
    let waitedMs = 0;
    for (;;) {
      sends += 1;
      const hint = { code: 'engine_overloaded', retryAfterMs: 3_600_000 } as const;
      const decision = decideRetry(question({ ...hint, history, alone: sends > 1 }));
      if (decision.outcome === 'fail') break;
      waitedMs += decision.delayMs;
      history = decision.history;
    }
    expect(sends).toBe(7);
    expect(waitedMs).toBeLessThan(100_000);
  });

  /** How often an item is sent that always ends like this, one after the other, and what is reported then. */
  const sends = (changes: readonly Partial<RetryQuestion>[]) => {
    let history = NO_HISTORY;
    for (let sent = 1; ; sent += 1) {
      const decision = decideRetry(question({ ...changes[(sent - 1) % changes.length], history }));
      if (decision.outcome === 'fail') return { sent, attempts: decision.attempts };
      history = decision.history;
    }
  };

  test.each(FAILURE_CODES.filter((code) => code !== 'engine_overloaded'))(
    'an item that always ends in %s is not sent more often than its attempts, and that is what is reported',
    (code) => {
      for (const maxAttempts of [3, 5, 10]) {
        const { sent, attempts } = sends([{ code, maxAttempts }]);
        expect(sent).toBeLessThanOrEqual(maxAttempts);
        expect(attempts).toBe(sent);
      }
    },
  );

  test('interruptions and failures together are bounded by the attempts', () => {
    const aborted = { code: 'engine_aborted' } as const;
    const odd = { code: 'invalid_response' } as const;
    expect(sends([aborted, odd])).toEqual({ sent: 3, attempts: 3 });
    expect(sends([odd, aborted, aborted])).toEqual({ sent: 3, attempts: 3 });
    // A stop of the engine is not held against an item that has one attempt, up to a bound.
    expect(sends([{ ...aborted, maxAttempts: 1 }])).toEqual({ sent: 3, attempts: 1 });
    expect(sends([{ ...odd, maxAttempts: 1 }])).toEqual({ sent: 1, attempts: 1 });
  });

  test('where no engine was reached, nothing was sent: that is free, to a bound', () => {
    expect(sends([{ code: 'engine_unreachable', reached: false }])).toEqual({ sent: 8, attempts: 3 });
  });

  test('what happens while the engine is down costs nothing, however often', () => {
    let history = charged(2);
    for (let outages = 0; outages < 100; outages += 1) {
      const decision = decideRetry(question({ history, excused: true }));
      if (decision.outcome === 'fail') throw new Error('it was given up');
      history = decision.history;
    }
    expect(history.charged).toBe(2);
  });

  test('an item under which three engines died has failed', () => {
    const died = { code: 'connection_lost', excused: true, engineDied: true } as const;
    expect(decideRetry(question({ ...died, history: { ...NO_HISTORY, deaths: 1 } }))).toMatchObject({
      outcome: 'retry',
    });
    expect(decideRetry(question({ ...died, history: { ...NO_HISTORY, deaths: 2 } }))).toMatchObject({
      outcome: 'fail',
    });
  });

  test('where the engine fails healthy items too, some of its errors are charged to it, to a bound', () => {
    const noisy = { noise: 0.1, history: charged(2) };
    const decision = decideRetry(question(noisy));
    expect(decision).toMatchObject({ outcome: 'retry', history: { charged: 2, noisy: 1 } });
    expect(decideRetry(question({ ...noisy, history: { ...charged(2), noisy: 3 } }))).toEqual({
      outcome: 'fail',
      attempts: 3,
    });
  });

  test.each([
    [0, 3, 0],
    [0.001, 3, 0],
    [0.1, 3, 3],
    [0.3, 3, 9],
    [0.9, 3, 17],
    [0.3, 1, 0],
    [0.3, 10, 2],
  ])('noise of %d and %i attempts add %i', (noise, maxAttempts, added) => {
    expect(noiseAllowance(noise, maxAttempts)).toBe(added);
  });
});

describe('when an item runs again', () => {
  const delay = (changes: Partial<RetryQuestion>): number => {
    const decision = decideRetry(question({ random: () => 1, ...changes }));
    return decision.outcome === 'retry' ? decision.delayMs : Number.NaN;
  };

  test('a sparse error is tried again almost at once, a repeated one ever later', () => {
    const delays = [0, 1, 2, 3, 4, 5, 6, 7].map((count) =>
      delay({ history: charged(count), maxAttempts: 10 }),
    );
    expect(delays[0]).toBeLessThanOrEqual(100);
    expect(delays).toEqual([...delays].sort((left, right) => left - right));
    expect(delays.at(-1)).toBe(8_000);
  });

  test('jitter is full: nothing at its low end', () => {
    expect(delay({ random: () => 0 })).toBe(0);
  });

  test('a hint of the engine outranks our guess, within ten seconds', () => {
    expect(delay({ code: 'engine_overloaded', retryAfterMs: 5_000, random: () => 0 })).toBe(5_000);
    expect(delay({ code: 'engine_overloaded', retryAfterMs: 900_000, random: () => 0 })).toBe(10_000);
    expect(delay({ code: 'engine_error', retryAfterMs: 2_000, random: () => 0 })).toBe(2_000);
  });
});
