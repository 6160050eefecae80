import { readFileSync } from 'node:fs';
import { RECORDED_VLLM_CPU, StepModel, VirtualEngine, VirtualTimeline } from '@batch-infer/testkit';
import { describe, expect, test } from 'vitest';
import { control, initialWindow, SAMPLE_INTERVAL_MS, windowOf } from '../window/controller.js';

/** What `npm run validate:vllm -- --record` saw of this job on vLLM's CPU build. */
const figuresFile = new URL(
  '../../../testkit/src/engine-sim/fixtures/vllm-0.32.0/figures.json',
  import.meta.url,
);
const real: { readonly items: number; readonly outputTokens: number; readonly ms: number } = JSON.parse(
  readFileSync(figuresFile, 'utf8'),
)['window job'];

const ITEMS = real.items;
const OUTPUT_TOKENS = real.outputTokens;
const KV_TOKENS = RECORDED_VLLM_CPU.numGpuBlocks * RECORDED_VLLM_CPU.blockSize;

interface Moment {
  readonly window: number;
  readonly inFlight: number;
  readonly waiting: number;
}

/** A job of equal items, all of a wave ending in one step; with `window`, at that window instead of a steered one. */
function runJob(window: number | null = null): { makespanMs: number; moments: Moment[] } {
  const timeline = new VirtualTimeline();
  const model = new StepModel(RECORDED_VLLM_CPU);
  const moments: Moment[] = [];
  let inFlight = 0;
  let sent = 0;
  let ended = 0;
  let completions = 0;
  let makespanMs = 0;
  let state = initialWindow(0);
  const engine = new VirtualEngine(timeline, model, () => {
    inFlight -= 1;
    ended += 1;
    completions += 1;
    makespanMs = timeline.nowMs;
    timeline.after(5, fill);
  });
  const fill = () => {
    while (inFlight < (window ?? windowOf(state)) && sent < ITEMS) {
      sent += 1;
      inFlight += 1;
      engine.submit({ id: `item-${sent}`, promptTokens: 35, outputTokens: OUTPUT_TOKENS });
    }
  };
  const sample = () => {
    const { nowMs } = timeline;
    state = control(state, {
      ...{ nowMs, gauges: { ...model.reported, kvTokens: KV_TOKENS, slots: null }, gaugesAtMs: nowMs },
      ...{ inFlight, completions, outputTokens: OUTPUT_TOKENS * completions, itemTokens: null },
      ...{ rejections: 0, retryAfterMs: null, timeouts: 0, maxSequences: null },
      ...{ roundTripMs: 10, reserve: 0, foreign: 0 },
    });
    completions = 0;
    moments.push({ window: windowOf(state), inFlight, waiting: model.gauges.waiting });
    fill();
    if (ended < ITEMS) timeline.after(SAMPLE_INTERVAL_MS, sample);
  };
  timeline.after(0, sample);
  timeline.run(24 * 3_600_000);
  return { makespanMs, moments };
}

/**
 * A step takes up to a tenth of a second, one that lets prompts in up to two, and the gauges stand still meanwhile.
 */
describe('an engine whose gauges stand still for the length of a step', () => {
  test('does not get more and more before it has counted what it was sent', () => {
    const { moments } = runJob();
    expect(Math.max(...moments.map(({ inFlight }) => inFlight))).toBeLessThanOrEqual(64);
  });

  test('is not starved because nothing runs at the moment between two steps', () => {
    const { moments } = runJob();
    expect(Math.min(...moments.map(({ window }) => window))).toBeGreaterThanOrEqual(32);
    const steady = moments.slice(Math.floor(moments.length / 3)).map(({ window }) => window);
    expect(Math.max(...steady) / Math.min(...steady)).toBeLessThanOrEqual(1.2);
  });

  test('is as fast as when it is sent everything at once', () => {
    expect(runJob().makespanMs / runJob(ITEMS).makespanMs).toBeLessThanOrEqual(1.02);
  });

  test('takes as long as the real one within 10 %', () => {
    const ratio = runJob().makespanMs / real.ms;
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThan(1.1);
  });
});
