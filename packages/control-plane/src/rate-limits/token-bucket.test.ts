import { expect, it } from 'vitest';
import { TokenBucket } from './token-bucket.js';

const strict = { overdraw: false };

it('gives a minute’s worth at once, then one after the other', () => {
  const bucket = new TokenBucket(60, 0);
  for (let taken = 1; taken <= 60; taken += 1) {
    expect(bucket.take(0, strict)).toMatchObject({ limit: 60, remaining: 60 - taken, waitMs: 0 });
  }
  expect(bucket.take(0, strict)).toMatchObject({ remaining: 0, waitMs: 1_000, resetMs: 60_000 });
  expect(bucket.take(999, strict).waitMs).toBe(1);
  expect(bucket.take(1_000, strict).waitMs).toBe(0);
  expect(bucket.take(1_000, strict).waitMs).toBe(1_000);
});

it('never holds more than a minute’s worth', () => {
  const bucket = new TokenBucket(10, 0);
  expect(bucket.take(3_600_000, strict)).toMatchObject({ remaining: 9 });
});

it('is overdrawn by what must not be refused, for a minute’s worth at most', () => {
  const bucket = new TokenBucket(2, 0);
  for (let taken = 0; taken < 10; taken += 1) bucket.take(0, { overdraw: true });
  expect(bucket.take(0, strict).waitMs).toBe(90_000);
  expect(bucket.take(90_000, strict).waitMs).toBe(0);
});

it('does not mind a clock that goes back', () => {
  const bucket = new TokenBucket(60, 10_000);
  bucket.take(10_000, strict);
  expect(bucket.take(0, strict)).toMatchObject({ remaining: 58 });
});
