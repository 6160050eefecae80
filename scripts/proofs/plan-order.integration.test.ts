import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, type Item, MODEL, type Program, ProofStack, scale, until } from './harness.js';

/** Prompts of 40 groups take turns; the engine's cache holds the beginnings of few of them at once. */
const ITEMS = scale('PROOF_PLAN_ITEMS', 800);
const GROUPS = 40;
const SMALL_ENGINE = {
  mode: 'step',
  timeScale: 0.1,
  step: { numGpuBlocks: 500, maxNumSeqs: 8 },
} as const;

const items: readonly Item[] = Array.from({ length: ITEMS }, (_, index) => ({
  custom_id: `q-${index}`,
  body: {
    model: MODEL,
    max_tokens: 1 + ((index * 37) % 24),
    messages: [
      { role: 'system', content: `group ${index % GROUPS} knows `.repeat(150) },
      { role: 'user', content: `q-${index} asks` },
    ],
  },
}));

let stack: ProofStack;
let client: Client;
let server: Program;
beforeEach(async () => {
  stack = new ProofStack();
  server = await stack.serve();
  client = stack.client;
});
afterEach(() => stack.close());

/** Share of prompt tokens that an engine found in its cache, by its own counters. */
async function hitRate(engine: { url: string }): Promise<number> {
  const text = await (await fetch(`${engine.url}/metrics`)).text();
  const total = (name: string): number =>
    Number(new RegExp(`^${name}\\S* ([\\d.e+]+)$`, 'm').exec(text)?.[1]);
  return total('vllm:prefix_cache_hits_total') / total('vllm:prefix_cache_queries_total');
}

describe('a job in plan order', () => {
  test('finds the beginnings of its prompts in the engine’s cache, and is whole in the order of its input', {
    timeout: 180_000,
  }, async () => {
    const rates: Record<string, number> = {};
    for (const order of ['input', 'auto']) {
      const engine = await stack.engine(SMALL_ENGINE);
      const runner = await stack.runner(engine);
      const { id } = await client.createJob(order, items, { plan_order: order });
      await client.ended(id, 120_000);
      expect(await client.check(id, items)).toMatchObject({ succeeded: ITEMS });
      rates[order] = await hitRate(engine);
      await runner.crash();
    }
    console.log(`prefix cache hits: ${JSON.stringify(rates)}`);
    expect(rates.auto).toBeGreaterThan(0.85);
    expect(rates.input).toBeLessThan(0.5);
  });

  test('loses and doubles nothing when its runner and its server are killed', {
    timeout: 180_000,
  }, async () => {
    const engine = await stack.engine({ serviceTimeMs: 100, slots: 16 });
    const runner = await stack.runner(engine);
    const { id } = await client.createJob('killed', items);
    const half = () =>
      until('half of the items', 60_000, async () => {
        const { counts } = await client.job(id);
        return counts.succeeded >= ITEMS / 2 ? true : null;
      });
    await half();
    await Promise.all([runner.crash(), server.crash()]);
    await stack.serve();
    await stack.runner(engine);
    await client.ended(id, 120_000);
    expect(await client.check(id, items)).toMatchObject({ succeeded: ITEMS });
  });

  test('runs identical requests once where the job says so', { timeout: 180_000 }, async () => {
    const engine = await stack.engine({ serviceTimeMs: 50 });
    await stack.runner(engine);
    const kinds = 30;
    const same: readonly Item[] = Array.from({ length: 600 }, (_, index) => ({
      custom_id: `q-${index}`,
      body: {
        model: MODEL,
        temperature: 0,
        messages: [{ role: 'user', content: `question ${(index * 7) % kinds}` }],
      },
    }));
    const { id } = await client.createJob('same', same, { reuse: 'job' });
    await client.ended(id, 120_000);
    expect(await client.check(id, same)).toMatchObject({ succeeded: 600 });
    // One more where a kind lies in two shards.
    expect(engine.stats().received).toBeLessThanOrEqual(kinds + 2);
  });
});
