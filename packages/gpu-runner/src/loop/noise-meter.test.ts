import { expect, test } from 'vitest';
import { NoiseMeter } from './noise-meter.js';

test('failures of items that succeeded later are noise', () => {
  const meter = new NoiseMeter();
  expect(meter.share).toBe(0);
  for (let item = 0; item < 90; item += 1) meter.record({ succeeded: true, failures: 0 });
  for (let item = 0; item < 10; item += 1) meter.record({ succeeded: true, failures: 1 });
  expect(meter.share).toBeCloseTo(10 / 110);
});

test('a poison item is none', () => {
  const meter = new NoiseMeter();
  for (let item = 0; item < 50; item += 1)
    meter.record({ succeeded: item % 2 === 0, failures: item % 2 === 0 ? 0 : 3 });
  expect(meter.share).toBe(0);
});

test('what was long ago is forgotten', () => {
  const meter = new NoiseMeter();
  for (let item = 0; item < 500; item += 1) meter.record({ succeeded: true, failures: 1 });
  for (let item = 0; item < 5_000; item += 1) meter.record({ succeeded: true, failures: 0 });
  expect(meter.share).toBeLessThan(0.01);
});
