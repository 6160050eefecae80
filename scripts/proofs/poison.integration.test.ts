import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, makeItems, type Program, ProofStack, scale, until } from './harness.js';

/** I10 for what takes the whole runner along: `PROOF_POISON_ITEMS=256` for a full shard. */
const ITEMS = scale('PROOF_POISON_ITEMS', 16);

const stack = new ProofStack();
let engine: EngineSim;
let client: Client;
let runner: Program;
let crashes = 0;
let reviving: Promise<void> = Promise.resolve();

beforeAll(async () => {
  engine = await stack.engine({
    serviceTimeMs: 20,
    // The runner dies whenever the poison item is in flight.
    onRequest: ({ body }) => {
      if (!JSON.stringify(body).includes('poison')) return undefined;
      crashes += 1;
      reviving = crashAndRevive();
      return { kind: 'hang' };
    },
  });
  await stack.serve();
  client = stack.client;
  runner = await stack.runner(engine);
});

afterAll(async () => {
  await reviving;
  await stack.close();
});

async function crashAndRevive(): Promise<void> {
  await runner.crash();
  runner = await stack.runner(engine);
}

test('an item that kills the runner every time fails alone, after its shard was halved around it', {
  timeout: 300_000,
}, async () => {
  const items = makeItems('neighbour', ITEMS);
  const poisoned = items.with(Math.floor(ITEMS / 3), {
    custom_id: 'poison',
    body: { model: 'sim-model', messages: [{ role: 'user', content: 'poison' }] },
  });
  const { id } = await client.createJob('kills-the-runner', poisoned);
  await client.ended(id, 240_000);
  await reviving;
  expect(await client.check(id, poisoned)).toMatchObject({ succeeded: ITEMS - 1, failed: 1 });
  const error = await client.text(`/v1/jobs/${id}/errors`);
  console.log(`${crashes} runners died of the poison item among ${ITEMS}; its line: ${error.trim()}`);
  expect(JSON.parse(error)).toMatchObject({ custom_id: 'poison', status: 'failed' });
  // It is not tried for ever: two losses for each halving, three for the single item.
  expect(crashes).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(ITEMS)) + 5);
  await until('the runner takes work again', 10_000, async () => {
    const { data } = await client.get<{ data: unknown[] }>('/v1/models');
    return data.length > 0 ? true : null;
  });
});
