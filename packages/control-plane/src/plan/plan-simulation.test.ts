import {
  type ModelOptions,
  promptBlockHashes,
  type SequenceRequest,
  StepModel,
  VirtualEngine,
  VirtualTimeline,
} from '@batch-infer/testkit';
import { seededRandom, shuffled } from '@batch-infer/testkit/chaos-transport/random';
import { describe, expect, it } from 'vitest';
import { chatLine, readLines, textOf } from './plan-fixture.js';
import { planOrder } from './plan-order.js';

/** Every seed is one job. */
const SEEDS = Array.from({ length: 10 }, (_, index) => index + 1);
const CHARACTERS_PER_TOKEN = 4;

interface JobShape {
  readonly items: number;
  /** Items share a system prompt with the others of their group; 1: none does. */
  readonly groups: number;
  readonly prefixTokens: number;
  readonly ownTokens: number;
  /** Limit of an answer; the answer has between half of it and all of it. */
  readonly maxTokens: (random: () => number) => number;
}

/** Log-normal, cut at 1,000: most answers are short, few are very long. */
const heavyTail = (random: () => number): number => {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.max(4, Math.min(1_000, Math.round(Math.exp(4.2 + 1.1 * normal))));
};

interface SimulatedItem {
  readonly line: string;
  readonly request: SequenceRequest;
}

/** A job's items in the order in which a client might send them: mixed. */
function jobOf(shape: JobShape, seed: number): SimulatedItem[] {
  const random = seededRandom(seed);
  const items = Array.from({ length: shape.items }, (_, index): SimulatedItem => {
    const group = index % shape.groups;
    const maxTokens = shape.maxTokens(random);
    const parts = [
      { key: `group ${group}`, tokens: shape.prefixTokens },
      { key: `item ${index}`, tokens: shape.ownTokens },
    ].filter(({ tokens }) => tokens > 0);
    const system = textOf(`group-${group}`, shape.prefixTokens * CHARACTERS_PER_TOKEN);
    const user = textOf(`item-${index}`, shape.ownTokens * CHARACTERS_PER_TOKEN);
    return {
      line: chatLine({ user, maxTokens, ...(shape.prefixTokens > 0 ? { system } : {}) }),
      request: {
        id: `item-${index}`,
        promptTokens: shape.prefixTokens + shape.ownTokens,
        outputTokens: Math.max(1, Math.round(maxTokens * (0.5 + 0.5 * random()))),
        blockHashes: promptBlockHashes(parts, 16),
      },
    };
  });
  return shuffled(items, random);
}

/** Virtual time until an engine has done all of them, when it is sent everything at once in this order. */
function makespanMs(requests: readonly SequenceRequest[], options: Partial<ModelOptions>): number {
  const timeline = new VirtualTimeline();
  const engine = new VirtualEngine(timeline, new StepModel(options), () => {});
  for (const request of requests) engine.submit(request);
  const endMs = timeline.run();
  if (!engine.model.idle) throw new Error('the engine stalled');
  return endMs;
}

async function ratioOf(shape: JobShape, seed: number, options: Partial<ModelOptions>): Promise<number> {
  const items = jobOf(shape, seed);
  const { order, worthwhile } = await planOrder(readLines(items.map(({ line }) => line)), {
    inputShards: Math.ceil(items.length / 256),
    reuse: false,
  });
  expect(worthwhile).toBe(true);
  const requests = items.map(({ request }) => request);
  const planned = [...order].flatMap((index) => requests[index] ?? []);
  return makespanMs(planned, options) / makespanMs(requests, options);
}

describe('plan order against input order, on a simulated engine', () => {
  const small: Partial<ModelOptions> = { numGpuBlocks: 4_096 };

  it.each(SEEDS)('C: shared prefixes take at most a quarter of the time (seed %i)', async (seed) => {
    const shape = { items: 1_000, groups: 60, prefixTokens: 3_000, ownTokens: 50, maxTokens: () => 12 };
    expect(await ratioOf(shape, seed, small)).toBeLessThanOrEqual(0.25);
  });

  it.each(SEEDS)('D: a heavy tail of answers takes at most 0.95 of the time (seed %i)', async (seed) => {
    const shape = { items: 4_000, groups: 1, prefixTokens: 0, ownTokens: 100, maxTokens: heavyTail };
    expect(await ratioOf(shape, seed, {})).toBeLessThanOrEqual(0.95);
  });

  it.each(SEEDS)('K: both together take at most half of the time (seed %i)', async (seed) => {
    const shape = { items: 2_000, groups: 60, prefixTokens: 3_000, ownTokens: 50, maxTokens: heavyTail };
    expect(await ratioOf(shape, seed, small)).toBeLessThanOrEqual(0.5);
  });
});
