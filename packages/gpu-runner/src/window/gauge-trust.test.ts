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

test('gauges that stand still at a likely number while our requests come and go are not believed', () => {
  const trust = new GaugeTrust();
  const inFlight = [64, 60, 40, 20, 12, 8, 8, 8, 8, 8];
  const seen = inFlight.map((ours) => trust.check(gauges(20, 30), { inFlight: ours, answers: 20 }));
  expect(seen[0]).not.toBeNull();
  expect(seen.at(-1)).toBeNull();
});

test.each([
  ['an engine that is full tells its places, whatever waits before it', [64, 40, 30, 64, 20], [16, 0]],
  ['as many as before, with others beside ours', [32, 33, 31, 32, 33], [40, 3]],
] as const)('%s: believed', (_name, ours, [running, waiting]) => {
  const trust = new GaugeTrust();
  for (let look = 0; look < 60; look += 1) {
    const inFlight = ours[look % ours.length] ?? 0;
    expect(trust.check(gauges(running, waiting), { inFlight, answers: 30 })).not.toBeNull();
  }
});
