import { describe, expect, it } from 'vitest';
import { OutageWatch } from './outage-watch.js';

describe('the outage watch', () => {
  it('counts the time from the last answer to the first one after failures', () => {
    const watch = new OutageWatch({ thresholdMs: 5_000, alone: false, lastAliveMs: 0 });
    expect(watch.alive(1_000)).toBe(0);
    watch.failed();
    watch.failed();
    expect(watch.alive(61_000)).toBe(60_000);
    expect(watch.alive(62_000)).toBe(0);
  });

  it('forgives nothing short', () => {
    const watch = new OutageWatch({ thresholdMs: 5_000, alone: true, lastAliveMs: 0 });
    watch.failed();
    expect(watch.alive(5_000)).toBe(0);
  });

  it('counts silence only where nobody else uses the ledger', () => {
    expect(new OutageWatch({ thresholdMs: 5_000, alone: false, lastAliveMs: 0 }).alive(60_000)).toBe(0);
    expect(new OutageWatch({ thresholdMs: 5_000, alone: true, lastAliveMs: 0 }).alive(60_000)).toBe(60_000);
  });
});
