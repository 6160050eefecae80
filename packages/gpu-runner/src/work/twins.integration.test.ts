import { describe, expect, test } from 'vitest';
import { runJob, sim } from '../../test/runner-harness.js';

const line = (index: number, body: Record<string, unknown>, path = '/v1/chat/completions'): string =>
  JSON.stringify({ custom_id: `q-${index}`, url: path, body: { model: 'sim-model', ...body } });
const ask = (text: string, options: Record<string, unknown> = {}) => ({
  messages: [{ role: 'user', content: text }],
  ...options,
});
const many = (count: number, make: (index: number) => string): string[] =>
  Array.from({ length: count }, (_, index) => make(index));

describe('a job that lets identical requests run once', () => {
  test('runs one of each, and gives its answer to all of them under their own names', async () => {
    const engine = await sim({ serviceTimeMs: 100 });
    const lines = many(60, (index) => line(index, ask(`question ${index % 5} end`, { temperature: 0 })));
    const { results, runner } = await runJob(engine, { lines, reuse: true });
    expect(engine.stats().received).toBe(5);
    expect(results.map(({ header }) => [header.i, header.c, header.ok])).toEqual(
      many(60, (index) => `q-${index}`).map((id, index) => [index, id, true]),
    );
    for (const [index, { body }] of results.entries()) expect(body).toContain(`question ${index % 5} end`);
    // Tokens are counted once, and who did not run has made no attempt.
    expect(results.filter(({ header }) => header.u !== undefined)).toHaveLength(5);
    expect(results.filter(({ header }) => header.a === 0)).toHaveLength(55);
    await runner.drain();
  });

  test('knows which answers are determined by their request', async () => {
    const engine = await sim({ serviceTimeMs: 100 });
    const lines = [
      ...many(4, (index) => line(index, ask('drawn'))),
      ...many(4, (index) => line(4 + index, ask('warm', { temperature: 0.5 }))),
      ...many(4, (index) => line(8 + index, ask('several', { temperature: 0, n: 2 }))),
      ...many(4, (index) => line(12 + index, ask('seeded', { seed: 7 }))),
      ...many(4, (index) => line(16 + index, { input: 'embedded' }, '/v1/embeddings')),
    ];
    const { results } = await runJob(engine, { lines, reuse: true });
    expect(results.every(({ header }) => header.ok)).toBe(true);
    expect(engine.stats().received).toBe(4 + 4 + 4 + 1 + 1);
  });

  test('lets each of them try by itself when the first one failed', async () => {
    const engine = await sim({
      serviceTimeMs: 50,
      faults: [{ match: { bodyIncludes: 'bad' }, action: { kind: 'status', status: 400 } }],
    });
    const lines = many(12, (index) => line(index, ask(index % 2 === 0 ? 'bad' : 'good', { temperature: 0 })));
    const { results } = await runJob(engine, { lines, reuse: true });
    expect(results.map(({ header }) => header.ok)).toEqual(lines.map((_, index) => index % 2 === 1));
    const sent = engine.requests().filter(({ marker }) => /bad|good/.test(marker));
    expect(sent.reduce((sum, { received }) => sum + received, 0)).toBe(6 + 1);
  });
});

test('a job that does not say so runs every item', async () => {
  const engine = await sim();
  const lines = many(20, (index) => line(index, ask('same', { temperature: 0 })));
  await runJob(engine, { lines });
  expect(engine.stats().received).toBe(20);
});
