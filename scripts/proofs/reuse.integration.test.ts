import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, type Item, MODEL, type Program, ProofStack, scale } from './harness.js';

/** Items of a run; the next run changes a tenth of them. */
const ITEMS = scale('PROOF_REUSE_ITEMS', 1_000);

const itemsOf = (prefix: string, changed: (index: number) => boolean): readonly Item[] =>
  Array.from({ length: ITEMS }, (_, index) => ({
    custom_id: `${prefix}-${index}`,
    body: {
      model: MODEL,
      temperature: 0,
      messages: [{ role: 'user', content: `question ${index}${changed(index) ? ' again' : ''}` }],
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

interface Line {
  readonly custom_id: string;
  readonly response: unknown;
  readonly attempts: number;
  readonly reused_from?: string;
}
async function resultsOf(id: string): Promise<Line[]> {
  const text = await client.text(`/v1/jobs/${id}/results`);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
}

describe('a job that shares answers with its project', () => {
  test('sends only what has changed to the engine, and ends without a runner when nothing has', {
    timeout: 180_000,
  }, async () => {
    const engine = await stack.engine({ serviceTimeMs: 20, slots: 64 });
    const runner = await stack.runner(engine);
    const first = itemsOf('first', () => false);
    const { id: firstId } = await client.createJob('first', first, { reuse: 'project' });
    await client.ended(firstId, 120_000);
    expect(await client.check(firstId, first)).toMatchObject({ succeeded: ITEMS });
    expect(engine.stats().received).toBe(ITEMS);

    const second = itemsOf('second', (index) => index % 10 === 3);
    const { id: secondId } = await client.createJob('second', second, { reuse: 'project' });
    await client.ended(secondId, 120_000);
    expect(await client.check(secondId, second)).toMatchObject({ succeeded: ITEMS });
    expect(engine.stats().received).toBe(ITEMS + ITEMS / 10);
    const [before, after] = [await resultsOf(firstId), await resultsOf(secondId)];
    after.forEach((line, index) => {
      if (index % 10 === 3) expect(line).not.toHaveProperty('reused_from');
      else
        expect(line).toMatchObject({ attempts: 0, reused_from: firstId, response: before[index]?.response });
    });

    await runner.crash();
    const third = itemsOf('third', (index) => index % 10 === 3);
    const { id: thirdId } = await client.createJob('third', third, { reuse: 'project' });
    await client.ended(thirdId, 60_000);
    expect(await client.check(thirdId, third)).toMatchObject({ succeeded: ITEMS });
    expect((await resultsOf(thirdId)).map(({ response }) => response)).toEqual(
      after.map(({ response }) => response),
    );
  });

  test('loses and doubles nothing when its server is killed while it is planned', {
    timeout: 180_000,
  }, async () => {
    const engine = await stack.engine({ serviceTimeMs: 5, slots: 256 });
    await stack.runner(engine);
    const first = itemsOf('first', () => false);
    const { id: firstId } = await client.createJob('first', first, { reuse: 'project' });
    await client.ended(firstId, 120_000);
    const second = itemsOf('second', (index) => index % 10 === 3);
    const { id } = await client.createJob('second', second, { reuse: 'project' });
    // The answer comes before the plan: that is made right now.
    await server.crash();
    await stack.serve();
    await client.ended(id, 120_000);
    expect(await client.check(id, second)).toMatchObject({ succeeded: ITEMS });
    expect(engine.stats().received).toBe(ITEMS + ITEMS / 10);
  });
});
