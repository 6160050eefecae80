import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { StepModel } from './model.js';
import { RECORDED_VLLM_CPU } from './recorded-vllm.js';
import { VirtualEngine, VirtualTimeline } from './virtual-time.js';

interface Level {
  readonly concurrency: number;
  readonly tokensPerSecond: number;
}

/** What `npm run validate:vllm -- --record` saw of a real vLLM. */
const figures = JSON.parse(
  readFileSync(new URL('./fixtures/vllm-0.32.0/figures.json', import.meta.url), 'utf8'),
);
const levels: readonly Level[] = figures['output tokens/s'];

const OUTPUT_TOKENS = 64;
/** Of "Tell story 8-15." with the chat template around it. */
const PROMPT_TOKENS = 35;

/** A client that keeps so many requests in flight, as `validate:vllm` measures: milliseconds for `items` of them. */
function makespanMs(concurrency: number, items: number): number {
  const timeline = new VirtualTimeline();
  let sent = 0;
  const send = () => {
    if (sent === items) return;
    sent += 1;
    engine.submit({ id: `item-${sent}`, promptTokens: PROMPT_TOKENS, outputTokens: OUTPUT_TOKENS });
  };
  const engine = new VirtualEngine(timeline, new StepModel(RECORDED_VLLM_CPU), send);
  for (let count = 0; count < concurrency; count += 1) send();
  return timeline.run();
}

describe('the step model beside a real vLLM', () => {
  it.each(levels)(
    'takes the same time within 10 % with $concurrency in flight',
    ({ concurrency, tokensPerSecond }) => {
      const items = Math.max(2, 2 * concurrency);
      const realMs = (1_000 * items * OUTPUT_TOKENS) / tokensPerSecond;
      const ratio = makespanMs(concurrency, items) / realMs;
      expect(ratio).toBeGreaterThan(0.9);
      expect(ratio).toBeLessThan(1.1);
    },
  );
});
