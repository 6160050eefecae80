import { describe, expect, it } from 'vitest';
import { ERROR_RULES } from './error-codes.js';
import { FAILURE_CODES, FAILURE_RULES, itemError } from './failures.js';
import { parseDurationMs } from './limits.js';

describe('the error table', () => {
  it.each(Object.entries(ERROR_RULES))('%s has a status, a wire type and a title', (code, rule) => {
    expect(code).toMatch(/^[a-z_]+$/);
    expect(rule.status).toBeGreaterThanOrEqual(400);
    expect(rule.status).toBeLessThan(600);
    expect(rule.type).toMatch(/_error$/);
    expect(rule.title).toMatch(/^[A-Z]/);
  });

  it('calls only overload, absence and our own faults retryable', () => {
    for (const rule of Object.values(ERROR_RULES)) {
      if (rule.retryable) expect(rule.status === 408 || rule.status === 429 || rule.status >= 500).toBe(true);
    }
  });
});

describe('the failure taxonomy', () => {
  it.each(FAILURE_CODES)('%s says how it is retried and has a safe message', (code) => {
    expect(FAILURE_RULES[code].message).toMatch(/\.$/);
    expect(itemError(code).message).toBe(FAILURE_RULES[code].message);
  });

  it("keeps the engine's own message, cut to 2,000 characters", () => {
    expect(itemError('engine_error', 'CUDA out of memory').message).toBe('CUDA out of memory');
    expect(itemError('engine_error', 'x'.repeat(9_000)).message).toHaveLength(2_000);
  });

  it('invites to retry what another run may cure', () => {
    expect(itemError('invalid_request').retryable).toBe(false);
    expect(itemError('item_timeout').retryable).toBe(true);
    expect(itemError('worker_lost').retryable).toBe(true);
  });
});

describe('durations', () => {
  it.each([
    ['24h', 86_400_000],
    ['90m', 5_400_000],
    ['7d', 604_800_000],
    ['500ms', 500],
    ['3600s', 3_600_000],
    ['24', null],
    ['-1h', null],
    ['1.5h', null],
    ['', null],
  ])('%s is %s ms', (text, expected) => {
    expect(parseDurationMs(text)).toBe(expected);
  });
});
