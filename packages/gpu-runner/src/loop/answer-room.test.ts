import { expect, test } from 'vitest';
import { AnswerSizes, hasRoom } from './answer-room.js';

const MEBIBYTE = 1024 * 1024;

/** How many requests go out before there is no room. */
function sentAtOnce(kind: AnswerSizes, others: readonly AnswerSizes[] = [], unsettledBytes = 0): number {
  while (kind.inFlight < 10_000 && hasRoom(kind, [kind, ...others], unsettledBytes)) kind.inFlight += 1;
  return kind.inFlight;
}

const sized = (bytes: number): AnswerSizes => {
  const sizes = new AnswerSizes();
  sizes.note(bytes);
  return sizes;
};

test('small answers are bounded by nothing but the window', () => {
  expect(sentAtOnce(new AnswerSizes())).toBe(10_000);
  expect(sentAtOnce(sized(2_000))).toBe(10_000);
});

test('large answers go out as many at once as there is room for, and one always', () => {
  expect(sentAtOnce(sized(MEBIBYTE))).toBe(128);
  expect(sentAtOnce(sized(140 * MEBIBYTE))).toBe(1);
  expect(sentAtOnce(sized(MEBIBYTE), [], 72 * MEBIBYTE)).toBe(56);
});

test('what is not settled holds everything back once it fills the room', () => {
  expect(sentAtOnce(sized(1), [], 300 * MEBIBYTE)).toBe(0);
});

test('others count, and a kind that had none in flight is not kept out by them', () => {
  const large = sized(50 * MEBIBYTE);
  expect(sentAtOnce(large)).toBe(2);
  expect(sentAtOnce(sized(100 * MEBIBYTE), [large])).toBe(1);
});

test('one large answer is forgotten in time', () => {
  const kind = sized(100 * MEBIBYTE);
  for (let answers = 0; answers < 500; answers += 1) kind.note(1_000);
  expect(sentAtOnce(kind)).toBeGreaterThan(1_000);
});
