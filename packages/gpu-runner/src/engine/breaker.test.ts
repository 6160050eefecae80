import { describe, expect, test } from 'vitest';
import { allowance, applyBreaker, type BreakerEvent, type BreakerState, CLOSED, isYoung } from './breaker.js';

const failure: BreakerEvent = { type: 'failure', inFlight: 0 };

function after(
  events: readonly [nowMs: number, event: BreakerEvent][],
  start: BreakerState = CLOSED,
): BreakerState {
  return events.reduce((state, [nowMs, event]) => applyBreaker(state, event, nowMs), start);
}
const times = (count: number, event: BreakerEvent, nowMs = 0): [number, BreakerEvent][] =>
  Array.from({ length: count }, () => [nowMs, event]);
const OPEN = after(times(5, failure));

describe('a breaker', () => {
  test('opens after five failures in a row', () => {
    expect(after(times(4, failure)).kind).toBe('closed');
    expect(OPEN.kind).toBe('open');
    expect(allowance(OPEN)).toBe(0);
  });

  test('stays closed when a success comes between', () => {
    expect(after([...times(4, failure), [0, { type: 'success' }], ...times(4, failure)]).kind).toBe('closed');
  });

  test('takes few failures of an engine with many requests at work for what they are', () => {
    const busy: BreakerEvent = { type: 'failure', inFlight: 60 };
    expect(after(times(29, busy)).kind).toBe('closed');
    expect(after(times(30, busy)).kind).toBe('open');
  });

  test('lets one item through after its time, when the engine is said to be healthy', () => {
    expect(after([[400, { type: 'alive' }]], OPEN).kind).toBe('open');
    const trial = after([[500, { type: 'alive' }]], OPEN);
    expect(allowance(trial)).toBe(1);
    expect(allowance(after([[500, { type: 'sent' }]], trial))).toBe(0);
    expect(after([[501, { type: 'success' }]], trial)).toEqual(CLOSED);
    expect(after([[501, failure]], trial)).toMatchObject({ kind: 'open', round: 1, untilMs: 1_501 });
  });

  test('a trial that was aborted or refused for lack of room may be sent again', () => {
    const trial = after(
      [
        [500, { type: 'alive' }],
        [500, { type: 'sent' }],
        [600, { type: 'unsettled' }],
      ],
      OPEN,
    );
    expect(allowance(trial)).toBe(1);
  });

  test('a long generation as a trial does not keep the rest out', () => {
    const trial = after(
      [
        [500, { type: 'alive' }],
        [500, { type: 'sent' }],
      ],
      OPEN,
    );
    expect(after([[2_000, { type: 'alive' }]], trial).kind).toBe('half_open');
    expect(after([[2_500, { type: 'alive' }]], trial)).toEqual(CLOSED);
  });

  test('an engine that is gone is tried as soon as it is back', () => {
    const gone = after([[0, { type: 'dead' }]]);
    expect(gone).toMatchObject({ kind: 'open', dead: true });
    expect(after([[10, { type: 'success' }]], gone).kind).toBe('open');
    expect(after([[20, { type: 'alive' }]], gone).kind).toBe('half_open');
  });

  test('an answer to an earlier request closes it, unless the engine is gone', () => {
    expect(after([[100, { type: 'success' }]], OPEN)).toEqual(CLOSED);
  });

  test('that our own request closed believes what items get at once, until one of them is answered', () => {
    const proved = after([[600, { type: 'proved' }]], OPEN);
    expect(proved).toMatchObject({ kind: 'closed', proved: true });
    expect(isYoung(OPEN, 600)).toBe(true);
    expect(isYoung(after(times(5, failure, 700), proved), 700)).toBe(false);
    const answered = after([[650, { type: 'success' }]], proved);
    expect(isYoung(after(times(5, failure, 700), answered), 700)).toBe(true);
    expect(isYoung(after([[700, { type: 'dead' }]], proved), 700)).toBe(true);
  });

  test('sends more at each trial to an engine that claims health and fails everything for long', () => {
    let state = OPEN;
    const trials: number[] = [];
    for (let nowMs = 500; nowMs < 80_000; nowMs += 500) {
      state = applyBreaker(state, { type: 'alive' }, nowMs);
      if (state.kind !== 'half_open') continue;
      trials.push(allowance(state));
      state = applyBreaker(state, failure, nowMs);
    }
    expect(trials.slice(0, 5)).toEqual([1, 1, 1, 1, 1]);
    expect(trials.at(-1)).toBe(256);
  });
});
