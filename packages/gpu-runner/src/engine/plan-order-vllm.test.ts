import { readFileSync } from 'node:fs';
import { RECORDED_VLLM_CPU, StepModel, VirtualEngine, VirtualTimeline } from '@batch-infer/testkit';
import { describe, expect, test } from 'vitest';

interface Run {
  readonly promptTokens: number;
  readonly prefixHitRate: number;
  readonly ms: number;
}

/** What `npm run validate:vllm -- --record` saw: a small cache, and beginnings of one block that take turns. */
const figuresFile = new URL(
  '../../../testkit/src/engine-sim/fixtures/vllm-0.32.0/figures.json',
  import.meta.url,
);
const real: {
  readonly groups: number;
  readonly itemsPerGroup: number;
  readonly input: Run;
  readonly auto: Run;
} = JSON.parse(readFileSync(figuresFile, 'utf8'))['plan order'];

const ITEMS = real.groups * real.itemsPerGroup;
/** A few more than the server runs at once. */
const IN_FLIGHT = 12;

/** The same server and the same job in the step model. */
function simulate(order: readonly number[]): { prefixHitRate: number; ms: number } {
  const timeline = new VirtualTimeline();
  const model = new StepModel({ ...RECORDED_VLLM_CPU, maxNumSeqs: 8, numGpuBlocks: 48 });
  const promptTokens = Math.round(real.input.promptTokens / ITEMS);
  let sent = 0;
  const send = () => {
    const index = order[sent];
    if (index === undefined) return;
    sent += 1;
    engine.submit({
      id: `item-${index}`,
      promptTokens,
      outputTokens: 1,
      blockHashes: [1 + (index % real.groups)],
    });
  };
  const engine = new VirtualEngine(timeline, model, send);
  for (let count = 0; count < IN_FLIGHT; count += 1) send();
  const ms = timeline.run();
  const { prefixCacheHits, prefixCacheQueries } = model.gauges;
  return { prefixHitRate: prefixCacheHits / prefixCacheQueries, ms };
}

const inputOrder = Array.from({ length: ITEMS }, (_, index) => index);
const planOrder = inputOrder.toSorted((left, right) => (left % real.groups) - (right % real.groups));

describe('the step model beside a real vLLM, on a job with shared beginnings', () => {
  test.each([
    ['input order', inputOrder, real.input],
    ['plan order', planOrder, real.auto],
  ])('%s: finds as many tokens in the prefix cache', (_name, order, run) => {
    expect(Math.abs(simulate(order).prefixHitRate - run.prefixHitRate)).toBeLessThanOrEqual(0.05);
  });

  test('both gain from the plan', () => {
    const simulated = simulate(planOrder).ms / simulate(inputOrder).ms;
    const seen = real.auto.ms / real.input.ms;
    expect(simulated).toBeLessThan(0.8);
    expect(seen).toBeLessThan(0.8);
  });
});
