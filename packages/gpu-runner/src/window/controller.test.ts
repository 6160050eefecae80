import { describe, expect, test } from 'vitest';
import { control, initialWindow, type WindowSample, windowOf } from './controller.js';

describe('refusals', () => {
  const quiet: WindowSample = {
    ...{ nowMs: 0, gauges: { running: 64, waiting: 0, preemptions: 0, kvTokens: 64 * 768, slots: null } },
    ...{
      gaugesAtMs: 0,
      inFlight: 64,
      completions: 0,
      outputTokens: 0,
      rejections: 0,
      retryAfterMs: null,
    },
    ...{ timeouts: 0, itemTokens: null, roundTripMs: 5, maxSequences: null, reserve: 0, foreign: 0 },
  };
  const at = (nowMs: number, changes: Partial<WindowSample> = {}): WindowSample => ({
    ...quiet,
    nowMs,
    gaugesAtMs: nowMs,
    ...changes,
  });

  test('a sparse one leaves the window as it is: the refused wait, the others go on', () => {
    let state = control(initialWindow(0), at(0));
    for (let nowMs = 500; nowMs <= 60_000; nowMs += 10) {
      const inFlight = windowOf(state) - 1;
      const refused = nowMs % 100 === 0;
      state = control(
        state,
        at(nowMs, { inFlight, completions: 10, rejections: refused ? 10 : 0, retryAfterMs: 1_000 }),
      );
    }
    expect(windowOf(state)).toBeGreaterThanOrEqual(60);
  });

  test('many at once shrink it once, not once each', () => {
    let state = control(initialWindow(0), at(0));
    expect(windowOf(state)).toBe(64);
    for (let burst = 0; burst < 50; burst += 1)
      state = control(state, at(500 + burst, { rejections: 1, completions: 0 }));
    expect(windowOf(state)).toBe(44);
  });

  test('it is back at 95 % within five seconds of a storm', () => {
    let state = control(initialWindow(0), at(0));
    for (let nowMs = 500; nowMs <= 3_000; nowMs += 100)
      state = control(state, at(nowMs, { rejections: 20, completions: 0 }));
    expect(windowOf(state)).toBeLessThan(20);
    for (let nowMs = 3_500; nowMs <= 8_000; nowMs += 500) {
      state = control(state, at(nowMs, { inFlight: windowOf(state) }));
    }
    expect(windowOf(state)).toBeGreaterThanOrEqual(57);
  });

  test('a hint of the engine is kept to before it grows again', () => {
    let state = control(initialWindow(0), at(0));
    state = control(state, at(500, { rejections: 1, completions: 0, retryAfterMs: 4_000 }));
    const shrunk = windowOf(state);
    for (let nowMs = 1_000; nowMs < 4_500; nowMs += 500)
      state = control(state, at(nowMs, { inFlight: shrunk }));
    expect(windowOf(state)).toBe(shrunk);
    state = control(state, at(5_000, { inFlight: shrunk }));
    expect(windowOf(state)).toBeGreaterThan(shrunk);
  });

  test('failures that are no refusals do not shrink it', () => {
    let state = control(initialWindow(0), at(0));
    state = control(state, at(500, { timeouts: 10 }));
    expect(windowOf(state)).toBeGreaterThanOrEqual(64);
  });

  test('an engine whose slots are known is given a few more than them', () => {
    const slots = { running: 8, waiting: 0, preemptions: 0, kvTokens: null, slots: 8 };
    let state = control(initialWindow(0), at(0, { gauges: slots }));
    for (let nowMs = 500; nowMs < 10_000; nowMs += 500) {
      state = control(state, at(nowMs, { gauges: slots, inFlight: windowOf(state) }));
    }
    expect(windowOf(state)).toBe(10);
  });

  test('stale gauges are not steered by', () => {
    let state = control(initialWindow(0), at(0));
    const stale = { running: 64, waiting: 500, preemptions: 0, kvTokens: null, slots: null };
    state = control(state, at(10_000, { gauges: stale, gaugesAtMs: 2_000 }));
    expect(windowOf(state)).toBe(64);
  });
});

describe('while nothing of ours is at the engine', () => {
  const crowded = { running: 256, waiting: 700, preemptions: 0, kvTokens: 64 * 768, slots: null };
  const idle = (nowMs: number): WindowSample => ({
    ...{ nowMs, gaugesAtMs: nowMs, gauges: crowded, inFlight: 0, completions: 0, outputTokens: 0 },
    ...{ rejections: 0, retryAfterMs: null, timeouts: 0, itemTokens: null, roundTripMs: 5 },
    ...{ maxSequences: null, reserve: 0, foreign: 956 },
  });

  test('what others have waiting there does not shrink the window', () => {
    let state = initialWindow(0);
    for (let nowMs = 0; nowMs <= 30_000; nowMs += 500) state = control(state, idle(nowMs));
    expect(windowOf(state)).toBe(64);
  });

  test('preemptions of others do not either', () => {
    let state = control(initialWindow(0), idle(0));
    const preempted = { ...crowded, preemptions: 40 };
    state = control(state, { ...idle(500), gauges: preempted });
    expect(windowOf(state)).toBe(64);
  });
});

describe('a shared engine', () => {
  const gauges = { running: 100, waiting: 0, preemptions: 0, kvTokens: 262_144, slots: null };
  const sample = (nowMs: number, changes: Partial<WindowSample> = {}): WindowSample => ({
    ...{ nowMs, gaugesAtMs: nowMs, gauges, inFlight: 100, completions: 10, outputTokens: 0 },
    ...{ rejections: 0, retryAfterMs: null, timeouts: 0, itemTokens: null, roundTripMs: 5 },
    ...{ maxSequences: 128, reserve: 32, foreign: 10 },
    ...changes,
  });

  test('is come into slowly, and never filled beyond what the reserve leaves', () => {
    let state = control(initialWindow(0), sample(0));
    expect(windowOf(state)).toBe(16);
    for (let nowMs = 500; nowMs <= 30_000; nowMs += 500)
      state = control(state, sample(nowMs, { inFlight: windowOf(state) }));
    expect(windowOf(state)).toBe(96);
  });

  test('is left to others while they wait, but not altogether', () => {
    let state = control(initialWindow(0), sample(0));
    const crowded = { ...gauges, waiting: 40 };
    for (let nowMs = 500; nowMs <= 30_000; nowMs += 500)
      state = control(state, sample(nowMs, { gauges: crowded }));
    expect(windowOf(state)).toBe(9);
    const alone = control({ ...state, limit: 90 }, sample(31_000, { gauges: crowded, foreign: 0 }));
    expect(windowOf(alone)).toBe(90);
  });

  test('whose size nobody told is taken for vLLM’s default', () => {
    const unknown = sample(0, { maxSequences: null, reserve: 200 });
    let state = control(initialWindow(0), unknown);
    for (let nowMs = 500; nowMs <= 30_000; nowMs += 500)
      state = control(state, sample(nowMs, { maxSequences: null, reserve: 200, inFlight: windowOf(state) }));
    expect(windowOf(state)).toBe(56);
  });
});
