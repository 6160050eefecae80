import { describe, expect, it } from 'vitest';
import { APIError, BatchInferError } from '../errors.js';
import { decideRetry, isRetryableStatus, readRetryHints } from './retry.js';
import { RetryBudget } from './retry-budget.js';

const none = { retryAfterMs: undefined, shouldRetry: undefined };
const failure = (retryable: boolean, retryAfterMs?: number) =>
  new APIError('no', { code: 'x', retryable, retryAfterMs });

describe('hints of the server', () => {
  it('reads milliseconds before seconds, and seconds before nothing', () => {
    const headers = new Headers({ 'retry-after': '3', 'retry-after-ms': '250' });
    expect(readRetryHints(headers, 0).retryAfterMs).toBe(250);
    expect(readRetryHints(new Headers({ 'retry-after': '3' }), 0).retryAfterMs).toBe(3000);
    expect(readRetryHints(new Headers(), 0).retryAfterMs).toBeUndefined();
  });

  it('reads a date, never waits longer than a minute, and ignores nonsense', () => {
    const nowMs = Date.parse('2026-01-01T00:00:00Z');
    const dated = new Headers({ 'retry-after': 'Thu, 01 Jan 2026 00:00:05 GMT' });
    expect(readRetryHints(dated, nowMs).retryAfterMs).toBe(5000);
    expect(readRetryHints(new Headers({ 'retry-after': '3600' }), 0).retryAfterMs).toBe(60_000);
    expect(readRetryHints(new Headers({ 'retry-after': 'soon' }), 0).retryAfterMs).toBeUndefined();
  });

  it('lets x-should-retry outrank the status, both ways', () => {
    expect(isRetryableStatus(429, { ...none, shouldRetry: false })).toBe(false);
    expect(isRetryableStatus(400, { ...none, shouldRetry: true })).toBe(true);
  });
});

describe('the status', () => {
  it.each([408, 429, 500, 502, 503, 504, 529])('%i is repeated', (status) => {
    expect(isRetryableStatus(status, none)).toBe(true);
  });

  it.each([400, 401, 403, 404, 409, 413, 422, 501, 507])('%i is final', (status) => {
    expect(isRetryableStatus(status, none)).toBe(false);
  });

  it('repeats a conflict that names a delay: the same key is still in flight', () => {
    expect(isRetryableStatus(409, { ...none, retryAfterMs: 20 })).toBe(true);
  });
});

describe('decideRetry', () => {
  const base = { attempt: 1, maxRetries: 4, repeatable: true, random: () => 0.5 };

  it('takes the hint before its own guess', () => {
    expect(decideRetry({ ...base, error: failure(true, 7) })).toEqual({ outcome: 'retry', delayMs: 7 });
  });

  it('spreads its own delays over 0.5 to 8 seconds, doubling', () => {
    const delays = [1, 2, 3, 4, 5, 6].map((attempt) =>
      decideRetry({ ...base, maxRetries: 9, attempt, error: failure(true), random: () => 1 }),
    );
    expect(delays).toEqual(
      [500, 1000, 2000, 4000, 8000, 8000].map((delayMs) => ({ outcome: 'retry', delayMs })),
    );
    expect(decideRetry({ ...base, error: failure(true), random: () => 0 })).toMatchObject({ delayMs: 0 });
  });

  it('stops behind the last retry, on final failures, on foreign errors, and when the body is gone', () => {
    const stop = { outcome: 'stop' };
    expect(decideRetry({ ...base, attempt: 5, error: failure(true) })).toEqual(stop);
    expect(decideRetry({ ...base, error: failure(false) })).toEqual(stop);
    expect(decideRetry({ ...base, error: new BatchInferError('bug') })).toEqual(stop);
    expect(decideRetry({ ...base, repeatable: false, error: failure(true) })).toEqual(stop);
  });
});

describe('the retry budget', () => {
  it('runs dry when nothing succeeds, and fills with successes', () => {
    const budget = new RetryBudget();
    let taken = 0;
    while (budget.take()) taken += 1;
    expect(taken).toBe(40);
    budget.giveBack();
    expect([budget.take(), budget.take()]).toEqual([true, false]);
  });
});
