import { VirtualTimeline } from '@batch-infer/testkit';
import { seededRandom } from '@batch-infer/testkit/chaos-transport/random';
import { describe, expect, test } from 'vitest';
import { SAMPLE_INTERVAL_MS } from '../window/controller.js';
import type { Verdict } from './classify.js';
import { EngineLoad } from './load.js';

const ANSWERED: Verdict = {
  ok: true,
  status: 200,
  body: new Uint8Array(0),
  usage: [500, 0, 300, 0],
  finishReason: null,
};
const REFUSED: Verdict = {
  ...{ ok: false, code: 'engine_overloaded', status: 429, message: undefined },
  ...{ body: new Uint8Array(0), retryAfterMs: 1_000, broken: null },
};
const REFUSAL_MS = 2;

interface Scenario {
  readonly items: number;
  readonly slots: number;
  readonly serviceMs: number;
  /** The share of requests that it refuses at random, with `Retry-After: 1`. */
  readonly refused?: number;
  /** It refuses what would be more than this at once. */
  readonly most?: number;
  /** It refuses everything between these moments. */
  readonly storm?: readonly [number, number];
  /** Nothing is there to be sent between these moments. */
  readonly pause?: readonly [number, number];
  readonly seed?: number;
}

interface Course {
  readonly makespanMs: number;
  readonly windows: readonly number[];
  readonly refusals: number;
  readonly endedAtMs: readonly number[];
}

/** An engine without `/metrics`: places, a service time ± 20 %, and a queue without end, on virtual time. */
function runJob(scenario: Scenario): Course {
  const { items, slots, serviceMs, refused = 0, most = Number.POSITIVE_INFINITY } = scenario;
  const [stormFromMs, stormUntilMs] = scenario.storm ?? [0, 0];
  const [pauseFromMs, pauseUntilMs] = scenario.pause ?? [0, 0];
  const timeline = new VirtualTimeline();
  const random = seededRandom(scenario.seed ?? 1);
  const clock = {
    nowMs: () => timeline.nowMs,
    after: (delayMs: number, callback: () => void) => {
      timeline.after(delayMs, callback);
      return () => {};
    },
  };
  const load = new EngineLoad(clock, { window: null, maxSequences: null, reserve: 0 });
  load.observe(null, 2);
  const windows: number[] = [];
  const endedAtMs: number[] = [];
  let [left, running, waiting, refusals] = [items, 0, 0, 0];

  const received = (verdict: Verdict) => {
    load.inFlight -= 1;
    load.note(verdict);
    timeline.after(0, fill);
  };
  const start = () => {
    running += 1;
    timeline.after(serviceMs * (0.8 + 0.4 * random()), () => {
      running -= 1;
      endedAtMs.push(timeline.nowMs);
      received(ANSWERED);
      if (waiting > 0) {
        waiting -= 1;
        start();
      }
    });
  };
  const send = () => {
    load.inFlight += 1;
    const { nowMs } = timeline;
    const storming = nowMs >= stormFromMs && nowMs < stormUntilMs;
    if (storming || running + waiting >= most || random() < refused) {
      timeline.after(REFUSAL_MS, () => {
        refusals += 1;
        received(REFUSED);
        timeline.after(1_000, () => {
          left += 1;
          fill();
        });
      });
    } else if (running < slots) start();
    else waiting += 1;
  };
  const fill = () => {
    if (timeline.nowMs >= pauseFromMs && timeline.nowMs < pauseUntilMs) return;
    while (left > 0 && load.inFlight < load.window) {
      left -= 1;
      send();
    }
  };
  const sample = () => {
    load.tick();
    windows.push(load.window);
    fill();
    if (endedAtMs.length < items) timeline.after(SAMPLE_INTERVAL_MS, sample);
  };
  timeline.after(0, sample);
  timeline.run(3_600_000);
  return { makespanMs: endedAtMs.at(-1) ?? 0, windows, refusals, endedAtMs };
}

const idealMs = ({ items, slots, serviceMs }: Scenario) => (items / slots) * serviceMs;
const endedBetween = ({ endedAtMs }: Course, fromMs: number, untilMs: number) =>
  endedAtMs.filter((atMs) => atMs >= fromMs && atMs < untilMs).length;

describe.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])('an engine that tells nothing of itself, seed %i', (seed) => {
  const engine = { slots: 64, serviceMs: 50, seed };

  test('is filled within a few answers', () => {
    const short = { ...engine, items: 300 };
    expect(runJob(short).makespanMs / idealMs(short)).toBeLessThan(2);
    const long = { ...engine, items: 3_000 };
    expect(runJob(long).makespanMs / idealMs(long)).toBeLessThan(1.15);
  });

  test('is filled in the same way when its answers take long', () => {
    const slow = { ...engine, serviceMs: 10_000, items: 3_000 };
    expect(runJob(slow).makespanMs / idealMs(slow)).toBeLessThan(1.15);
  });

  test('is kept full over pauses and looks around, and is not given more each minute', () => {
    const job = { ...engine, items: 200_000, pause: [60_000, 90_000] as const };
    const course = runJob(job);
    expect(course.windows.length).toBeGreaterThan(360);
    expect(Math.max(...course.windows)).toBeLessThanOrEqual(256);
    expect(endedBetween(course, 90_000, 180_000) / (90_000 * (64 / 50))).toBeGreaterThan(0.98);
  });

  test('goes on at its full rate when it refuses a tenth at random', () => {
    const job = { ...engine, items: 20_000, refused: 0.1 };
    const course = runJob(job);
    expect(endedBetween(course, 1_000, 11_000) / (10_000 * (64 / 50))).toBeGreaterThan(0.95);
  });

  test.each([0, 40, 5_000])(
    'is full within five seconds of a storm of refusals that began at %i ms',
    (fromMs) => {
      const storm = [fromMs, fromMs + 3_000] as const;
      const course = runJob({ ...engine, items: 20_000, storm });
      expect(endedBetween(course, fromMs + 8_000, fromMs + 10_000) / (2_000 * (64 / 50))).toBeGreaterThan(
        0.95,
      );
    },
  );

  test('is kept full when it refuses what is too much, without being flooded', () => {
    const job = { ...engine, items: 20_000, most: 80 };
    const course = runJob(job);
    expect(course.makespanMs / idealMs(job)).toBeLessThan(1.1);
    expect(course.refusals).toBeLessThan(1_000);
  });
});
