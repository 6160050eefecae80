import { describe, expect, test } from 'vitest';
import { classify } from './classify.js';
import {
  meaningOf,
  PATIENCE_MS,
  type RefusalEvidence,
  type RefusalMeaning,
  subjectOf,
  wordsOf,
} from './refusal.js';

const ALONE: RefusalEvidence = {
  ...{ subject: 'request', inRow: 1, alike: 1, passedAfterMs: null, probe: 'none', failingForMs: 0 },
  ...{ earlier: 0, elsewhere: false, ownWords: false },
};
const LONG = PATIENCE_MS;

const CASES: [name: string, evidence: Partial<RefusalEvidence>, meaning: RefusalMeaning][] = [
  ['one bad request, and nothing else is known', {}, 'wait'],
  ['one bad request while the next one passes', { passedAfterMs: 0 }, 'item'],
  ['one bad request while our own passes', { passedAfterMs: 3, probe: 'passed' }, 'item'],
  ['one bad request, and the next one passes a while later', { passedAfterMs: 2_000 }, 'again'],
  ['the same after a second chance', { passedAfterMs: 2_000, earlier: 2 }, 'item'],
  ['our own request fares like the item', { probe: 'failed' }, 'engine'],
  ['many in a row with the same words, nothing passes yet', { inRow: 30, alike: 30 }, 'wait'],
  [
    'many in a row, and our own passes: they are bad',
    { inRow: 30, alike: 30, passedAfterMs: 2, probe: 'passed' },
    'item',
  ],
  [
    'many in a row, our own fails: a proxy without its engine',
    { inRow: 30, alike: 30, probe: 'failed' },
    'engine',
  ],
  [
    'many in a row, then others pass, our own is under way',
    { inRow: 9, alike: 9, passedAfterMs: 5, probe: 'pending' },
    'wait',
  ],
  ['many in a row, then others pass: the moment is over', { inRow: 9, alike: 9, passedAfterMs: 5 }, 'again'],
  ['many in a row where we cannot ask by ourselves', { inRow: 3, alike: 3, probe: 'impossible' }, 'engine'],
  ['two in a row where we cannot ask by ourselves', { inRow: 2, alike: 2, probe: 'impossible' }, 'wait'],
  ['many with different words where we cannot ask', { inRow: 6, alike: 1, probe: 'impossible' }, 'engine'],
  ['words that were shown to be about single items', { ownWords: true }, 'item'],
  ['404 for a route that others use', { subject: 'route', passedAfterMs: 0, probe: 'passed' }, 'again'],
  ['404 again and again beside others that pass', { subject: 'route', passedAfterMs: 0, earlier: 7 }, 'item'],
  ['404 with words known from others', { subject: 'route', ownWords: true }, 'wait'],
  ['404 to everything', { subject: 'route', probe: 'failed' }, 'engine'],
  [
    '404 to everything for long: it has no such route',
    { subject: 'route', probe: 'failed', failingForMs: LONG },
    'item',
  ],
  [
    '404 to everything for long, and another engine does better',
    { subject: 'route', probe: 'failed', failingForMs: LONG, elsewhere: true },
    'engine',
  ],
  ['401 to everything', { subject: 'access', probe: 'failed' }, 'engine'],
  [
    '401 to everything for long: never about one item',
    { subject: 'access', probe: 'failed', failingForMs: LONG },
    'engine',
  ],
  ['403 for one item beside others that pass', { subject: 'access', passedAfterMs: 0 }, 'again'],
  ['403 for one item each time', { subject: 'access', passedAfterMs: 0, earlier: 7 }, 'item'],
  ['500 at the last attempt while others pass', { subject: 'engine', passedAfterMs: 0 }, 'item'],
  ['500 to everything', { subject: 'engine', probe: 'failed' }, 'engine'],
  ['500 to everything for long', { subject: 'engine', probe: 'failed', failingForMs: LONG }, 'item'],
  ['every item is bad, and nothing can be asked', { probe: 'impossible', failingForMs: LONG }, 'item'],
];

describe('what a failed answer means', () => {
  test.each(CASES)('%s', (_name, evidence, meaning) => {
    expect(meaningOf({ ...ALONE, ...evidence })).toBe(meaning);
  });
});

const failureOf = (status: number, body: string) => {
  const reply = { kind: 'answer', status, retryAfterMs: null, body: Buffer.from(body), ms: 1 } as const;
  const verdict = classify('/v1/chat/completions', reply);
  if (verdict === null || verdict.ok) throw new Error('it is no failure');
  return verdict;
};

test('words are compared without what differs from request to request', () => {
  const said = (id: string) => wordsOf(failureOf(400, `{"error":{"message":"Request ${id} is not valid"}}`));
  expect(said('req_8f2a11')).toBe(said('req-77b'));
  expect(said('1')).not.toBe(wordsOf(failureOf(422, '{"error":{"message":"Request 1 is not valid"}}')));
});

test('want of room is not told by words', () => {
  for (const status of [429, 503]) expect(subjectOf(failureOf(status, ''))).toBeNull();
});
