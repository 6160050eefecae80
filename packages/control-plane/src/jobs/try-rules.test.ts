import { describe, expect, it } from 'vitest';
import { afterFailedTry, type FailedTry, OWN_TRIES } from './try-rules.js';

const NOW_MS = 1_800_000_000_000;
const MINUTE_MS = 60_000;
const failed = (more: Partial<FailedTry> = {}): FailedTry => ({
  tries: 1,
  ownTries: 1,
  sinceMs: NOW_MS,
  storeIsWell: true,
  isCancelled: false,
  expiresAtMs: NOW_MS + 60 * MINUTE_MS,
  nowMs: NOW_MS,
  ...more,
});

describe('a job that could not be planned or finalized', () => {
  it('is tried again with growing distance, over one to five minutes until it is given up', () => {
    let waitedMs = 0;
    let lastMs = 0;
    for (let tries = 1; tries < OWN_TRIES; tries += 1) {
      const next = afterFailedTry(failed({ tries, ownTries: tries }));
      if (next.outcome !== 'retry') throw new Error('given up too early');
      expect(next.delayMs).toBeGreaterThanOrEqual(lastMs);
      lastMs = next.delayMs;
      waitedMs += next.delayMs;
    }
    expect(afterFailedTry(failed({ tries: OWN_TRIES, ownTries: OWN_TRIES }))).toEqual({
      outcome: 'give_up',
      reason: 'tries',
    });
    expect(waitedMs).toBeGreaterThan(MINUTE_MS);
    expect(waitedMs).toBeLessThan(5 * MINUTE_MS);
  });

  it.each([
    ['tried often', { tries: 500, ownTries: OWN_TRIES }],
    ['cancelled', { isCancelled: true }],
    ['past its window', { sinceMs: NOW_MS - 60 * MINUTE_MS, expiresAtMs: NOW_MS - MINUTE_MS }],
  ])('is never given up while the store is away: %s', (_, more) => {
    const next = afterFailedTry(failed({ ...more, storeIsWell: false }));
    expect(next).toMatchObject({ outcome: 'retry' });
  });

  it('is given up at the first failure behind its cancel', () => {
    expect(afterFailedTry(failed({ ownTries: 0, isCancelled: true }))).toEqual({
      outcome: 'give_up',
      reason: 'cancelled',
    });
  });

  it('is given up past its window, but not in the minutes in which a stopped job is ended', () => {
    const overdue = { ownTries: 0, tries: 20, expiresAtMs: NOW_MS - MINUTE_MS };
    expect(afterFailedTry(failed({ ...overdue, sinceMs: NOW_MS - MINUTE_MS }))).toMatchObject({
      outcome: 'retry',
    });
    expect(afterFailedTry(failed({ ...overdue, sinceMs: NOW_MS - 11 * MINUTE_MS }))).toEqual({
      outcome: 'give_up',
      reason: 'expired',
    });
  });
});
