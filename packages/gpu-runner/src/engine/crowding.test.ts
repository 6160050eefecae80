import { expect, test } from 'vitest';
import { classify } from './classify.js';
import { Crowding } from './crowding.js';

const reply = { kind: 'answer', status: 503, retryAfterMs: 3_600_000, body: Buffer.from(''), ms: 1 } as const;
const verdict = classify('/v1/chat/completions', reply);
if (verdict === null || verdict.ok) throw new Error('it is no failure');
const FULL = verdict;

test('an item that is refused while others pass stands alone', () => {
  const crowding = new Crowding();
  const item = {};
  expect(crowding.refused(item, FULL, 0)).toEqual({ alone: false, lonely: false });
  crowding.passed();
  crowding.passed();
  crowding.refused({}, FULL, 1);
  expect(crowding.refused(item, FULL, 2)).toEqual({ alone: true, lonely: false });
});

test('an engine that is full refuses many, and nobody stands alone', () => {
  const crowding = new Crowding();
  const item = {};
  crowding.refused(item, FULL, 0);
  crowding.passed();
  for (let count = 0; count < 5; count += 1) crowding.refused({}, FULL, 1);
  expect(crowding.refused(item, FULL, 2)).toEqual({ alone: false, lonely: false });
});

test('where no other passes, a request of our own tells', () => {
  const crowding = new Crowding();
  const item = {};
  crowding.refused(item, FULL, 5);
  expect(crowding.refused(item, FULL, 9)).toEqual({ alone: false, lonely: true });
  expect(crowding.sinceMs).toBe(5);
  crowding.refused({}, FULL, 10);
  crowding.probed();
  expect(crowding.sinceMs).toBeNull();
  expect(crowding.refused(item, FULL, 12)).toEqual({ alone: true, lonely: true });
});
