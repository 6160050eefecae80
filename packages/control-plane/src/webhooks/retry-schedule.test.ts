import { expect, it } from 'vitest';
import { nextAttemptAtMs, RETRY_DELAYS_MS } from './retry-schedule.js';

it('tries again after 5 seconds, and for the last time after about 28 hours', () => {
  expect(nextAttemptAtMs({ attempts: 1, nowMs: 0, random: () => 0.5 })).toBe(5_000);
  const hours = RETRY_DELAYS_MS.reduce((sum, delayMs) => sum + delayMs, 0) / 3_600_000;
  expect(hours).toBeGreaterThan(27);
  expect(hours).toBeLessThan(29);
  expect(nextAttemptAtMs({ attempts: RETRY_DELAYS_MS.length + 1, nowMs: 0, random: () => 0 })).toBeNull();
});

it('spreads the attempts of many by a tenth', () => {
  expect(nextAttemptAtMs({ attempts: 2, nowMs: 0, random: () => 0 })).toBe(270_000);
  expect(nextAttemptAtMs({ attempts: 2, nowMs: 0, random: () => 0.999_999 })).toBe(330_000);
});
