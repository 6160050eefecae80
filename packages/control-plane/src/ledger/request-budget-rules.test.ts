import { expect, it } from 'vitest';
import { spendRequests } from './request-budget-rules.js';

const NOW = 1_800_000_000_000_000;
const none = { perMinute: 60, wanted: 0, returned: 0, overdrawn: 0 };

it('a new bucket holds a minute’s worth, and refills one after the other', () => {
  const first = spendRequests(0, { ...none, wanted: 100 }, NOW);
  expect(first).toEqual({ granted: 60, fullAtUs: NOW + 60_000_000 });
  expect(spendRequests(first.fullAtUs, { ...none, wanted: 5 }, NOW + 999_999).granted).toBe(0);
  expect(spendRequests(first.fullAtUs, { ...none, wanted: 5 }, NOW + 2_000_000).granted).toBe(2);
});

it('takes back what nobody used, and never holds more than a minute’s worth', () => {
  const { fullAtUs } = spendRequests(0, { ...none, wanted: 60 }, NOW);
  expect(spendRequests(fullAtUs, { ...none, wanted: 60, returned: 7 }, NOW).granted).toBe(7);
  expect(spendRequests(0, { ...none, wanted: 100, returned: 50 }, NOW).granted).toBe(60);
});

it('is overdrawn by a minute’s worth at most', () => {
  const { fullAtUs } = spendRequests(0, { ...none, wanted: 60, overdrawn: 1_000 }, NOW);
  expect(fullAtUs).toBe(NOW + 120_000_000);
  expect(spendRequests(fullAtUs, { ...none, wanted: 1 }, NOW + 61_000_000).granted).toBe(1);
});

it('charges a full bucket for what was overdrawn', () => {
  expect(spendRequests(0, { ...none, wanted: 60, overdrawn: 10 }, NOW).granted).toBe(50);
});

it.each([7, 1_000, 10_000_000])('grants no more than %d a minute, whoever asks', (perMinute) => {
  let fullAtUs = 0;
  let granted = 0;
  for (let step = 0; step <= 600; step += 1) {
    const nowUs = NOW + step * 100_000;
    const answer = spendRequests(fullAtUs, { ...none, perMinute, wanted: perMinute }, nowUs);
    fullAtUs = answer.fullAtUs;
    granted += answer.granted;
  }
  // A full bucket, and what one minute puts into it.
  expect(granted).toBeLessThanOrEqual(2 * perMinute);
  expect(granted).toBeGreaterThanOrEqual(2 * perMinute - 1);
});
