import { expect, test } from 'vitest';
import { GaugeTrust } from './gauge-trust.js';

const gauges = (running: number, waiting = 0) => ({
  running,
  waiting,
  preemptions: 0,
  kvTokens: null,
  slots: null,
});
const BUSY = { inFlight: 32, answers: 20 };

test.each([
  ['always 0', gauges(0)],
  ['below 0', gauges(-1)],
  ['a time', gauges(1_764_350_000_000)],
])(
  'gauges that say %s while requests are answered are not believed, and asked again later',
  (_name, told) => {
    const trust = new GaugeTrust();
    const seen = Array.from({ length: 8 }, () => trust.check(told, BUSY));
    expect(seen[0]).toBe(told);
    expect(seen.at(-1)).toBeNull();
    const later = Array.from({ length: 130 }, () => trust.check(gauges(30), BUSY));
    expect(later.at(-1)).toEqual(gauges(30));
  },
);

test('gauges of an idle engine, or one that is between two steps, are believed', () => {
  const trust = new GaugeTrust();
  for (let look = 0; look < 50; look += 1) {
    expect(trust.check(gauges(0), { inFlight: 0, answers: 0 })).not.toBeNull();
    expect(trust.check(gauges(0), BUSY)).not.toBeNull();
    expect(trust.check(gauges(20, 3), BUSY)).not.toBeNull();
  }
});
