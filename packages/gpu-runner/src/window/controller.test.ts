import { type ModelOptions, StepModel, VirtualEngine, VirtualTimeline } from '@batch-infer/testkit';
import { describe, expect, test } from 'vitest';
import {
  control,
  initialWindow,
  SAMPLE_INTERVAL_MS,
  type WindowSample,
  type WindowState,
  windowOf,
} from './controller.js';

interface Scenario {
  readonly items: number;
  readonly promptTokens: number;
  readonly outputTokens: (index: number) => number;
  readonly options?: Partial<ModelOptions>;
  /** `null`: everything at once. */
  readonly window: 'steered' | 'blind' | number | null;
  /** Called at each sample; may disturb the engine. */
  readonly disturb?: (engine: VirtualEngine, nowMs: number) => void;
}

interface Run {
  readonly makespanMs: number;
  readonly preemptions: number;
  /** The window at each sample. */
  readonly windows: readonly number[];
}

/** A runner's loop in virtual time: dispatch on every completion, a sample every 500 ms. */
function simulate(scenario: Scenario): Run {
  const timeline = new VirtualTimeline();
  const model = new StepModel(scenario.options ?? {});
  let state: WindowState = initialWindow(0);
  let next = 0;
  let inFlight = 0;
  let ended = 0;
  let completions = 0;
  let outputTokens = 0;
  let makespanMs = 0;
  const windows: number[] = [];
  const limit = (): number => {
    if (scenario.window === null) return Number.POSITIVE_INFINITY;
    return typeof scenario.window === 'number' ? scenario.window : windowOf(state);
  };
  const fill = (): void => {
    while (inFlight < limit() && next < scenario.items) {
      const id = String(next);
      engine.submit({ id, promptTokens: scenario.promptTokens, outputTokens: scenario.outputTokens(next) });
      next += 1;
      inFlight += 1;
    }
  };
  const engine = new VirtualEngine(timeline, model, (finished) => {
    inFlight -= 1;
    ended += 1;
    completions += 1;
    outputTokens += finished.outputTokens;
    makespanMs = timeline.nowMs;
    fill();
  });
  const sample = (): void => {
    const { running, waiting, preemptions } = model.gauges;
    const kvTokens = (scenario.options?.numGpuBlocks ?? 16_384) * (scenario.options?.blockSize ?? 16);
    const seen: WindowSample = {
      nowMs: timeline.nowMs,
      gauges: scenario.window === 'blind' ? null : { running, waiting, preemptions, kvTokens, slots: null },
      gaugesAtMs: timeline.nowMs,
      ...{ inFlight, completions, outputTokens, rejections: 0, retryAfterMs: null, timeouts: 0 },
      itemTokens: null,
      ...{ roundTripMs: 5, maxSequences: null, reserve: 0, foreign: 0 },
    };
    state = control(state, seen);
    windows.push(windowOf(state));
    completions = 0;
    outputTokens = 0;
    scenario.disturb?.(engine, timeline.nowMs);
    fill();
    if (ended < scenario.items) timeline.after(SAMPLE_INTERVAL_MS, sample);
  };
  timeline.after(0, sample);
  timeline.run(24 * 3_600_000);
  expect(ended).toBe(scenario.items);
  return { makespanMs, preemptions: model.gauges.preemptions, windows };
}

const seeds = Array.from({ length: 10 }, (_, seed) => seed + 1);
/** 200 to 400 tokens, different for each index and seed. */
const lengths = (seed: number) => (index: number) => 200 + (((index + 1) * 7_919 * (seed + 13)) % 201);

describe('the window at an engine that tells how it is', () => {
  test.each(seeds)('an even job takes no longer than sending everything at once (seed %i)', (seed) => {
    const job = {
      items: 4_000,
      promptTokens: 256,
      outputTokens: lengths(seed),
      options: { seed, jitter: 0.1 },
    };
    const everything = simulate({ ...job, window: null }).makespanMs;
    expect(simulate({ ...job, window: 'steered' }).makespanMs / everything).toBeLessThanOrEqual(1.02);
  });

  test('a job that is bound by KV memory takes no longer, and is preempted less', () => {
    const options = { numGpuBlocks: 4_096 };
    const job = { items: 2_000, promptTokens: 512, outputTokens: lengths(3), options };
    const everything = simulate({ ...job, window: null });
    const steered = simulate({ ...job, window: 'steered' });
    expect(steered.makespanMs / everything.makespanMs).toBeLessThanOrEqual(1.02);
    expect(steered.preemptions).toBeLessThanOrEqual(everything.preemptions);
  });

  test('a window of 16 is several times slower: steering is worth it', () => {
    const job = { items: 1_000, promptTokens: 256, outputTokens: lengths(1) };
    expect(simulate({ ...job, window: 16 }).makespanMs).toBeGreaterThan(
      2 * simulate({ ...job, window: 'steered' }).makespanMs,
    );
  });

  test('it settles: in the steady part the window hardly moves', () => {
    const job = { items: 6_000, promptTokens: 256, outputTokens: lengths(2) };
    const { windows } = simulate({ ...job, window: 'steered' });
    const steady = windows.slice(Math.floor(windows.length / 2), -5);
    expect(Math.max(...steady) / Math.min(...steady)).toBeLessThan(1.35);
  });

  test('the same seed gives the same course', () => {
    const job = { items: 1_000, promptTokens: 256, outputTokens: lengths(5), window: 'steered' as const };
    expect(simulate(job)).toEqual(simulate(job));
  });

  test('half of the KV memory gone: the job still ends', () => {
    const job = {
      items: 1_500,
      promptTokens: 512,
      outputTokens: lengths(4),
      options: { numGpuBlocks: 8_192 },
    };
    const disturb = (engine: VirtualEngine, nowMs: number) => {
      if (nowMs === 10_000) engine.model.setKvShare(0.5);
    };
    const { windows } = simulate({ ...job, window: 'steered', disturb });
    expect(windows.at(-1)).toBeGreaterThan(8);
  });
});

describe('the window at an engine that tells nothing', () => {
  test('it is found by what it brings, within a factor of sending everything', () => {
    const job = { items: 6_000, promptTokens: 256, outputTokens: lengths(1) };
    const everything = simulate({ ...job, window: null }).makespanMs;
    expect(simulate({ ...job, window: 'blind' }).makespanMs / everything).toBeLessThan(1.6);
  });
});

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
