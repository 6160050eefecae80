import type { EngineSim, FaultAction } from '@batch-infer/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, type Item, idOfMarker, makeItems, ProofStack, scale, until } from './harness.js';

/** R6: `PROOF_ITEMS=1000` for the whole proof. */
const ITEMS = scale('PROOF_ITEMS', 200);
const RUN_LIMIT = { timeout: 300_000 };
const ITEM_TIMEOUT_MS = 1_000;

const stack = new ProofStack();
let engine: EngineSim;
let client: Client;

beforeAll(async () => {
  engine = await stack.engine({ slots: 32, serviceTimeMs: 20 });
  await stack.serve();
  client = stack.client;
  await stack.runner(engine, ['--window', '32']);
});

afterAll(() => stack.close());

const FAULTS: Readonly<Record<string, FaultAction>> = {
  'status 500': { kind: 'status', status: 500 },
  'a reset connection': { kind: 'reset', at: 'completion' },
  'no answer until the time-out': { kind: 'hang' },
  'a garbage body': { kind: 'garbage' },
  'a body cut in the middle': { kind: 'cutBody' },
  '429 with Retry-After': { kind: 'status', status: 429, retryAfterSeconds: 1 },
  'finish_reason abort': { kind: 'abort' },
};

describe('10 % of the requests meet one fault', () => {
  test.each(Object.entries(FAULTS))('%s: every item succeeds', RUN_LIMIT, async (name, action) => {
    engine.setFaults([{ match: { rate: 0.1 }, action }]);
    const items = makeItems(name.replaceAll(/\W/g, '-'), ITEMS);
    const received = await runJob(name, items, { item_timeout_ms: ITEM_TIMEOUT_MS });
    expect(await outcome(items)).toMatchObject({ total: ITEMS, succeeded: ITEMS });
    const perItem = received / ITEMS;
    console.log(`${name}: ${ITEMS} of ${ITEMS} succeeded, ${perItem.toFixed(3)} requests an item`);
    // R6: attempts ≤ 1/(1−p) + 0.1 an item, with the spread of so few items on top.
    expect(perItem).toBeLessThanOrEqual(1 / 0.9 + 0.1 + 1 / Math.sqrt(ITEMS));
  });
});

describe('a poison item', () => {
  test(
    'that the engine answers with 500 every time fails alone, with the engine’s own error',
    RUN_LIMIT,
    async () => {
      engine.setFaults([{ match: { bodyIncludes: 'poison' }, action: { kind: 'status', status: 500 } }]);
      const items = withPoison('always-500', 60);
      await runJob('always 500', items);
      expect(await outcome(items)).toMatchObject({ succeeded: 59, failed: 1 });
      const [line] = await failedLines();
      expect(line).toMatchObject({
        custom_id: 'poison',
        attempts: 3,
        error: { message: expect.stringContaining('EngineCore encountered an issue') },
      });
      // More than its attempts only where the engine has failed healthy items, too: the runner allows for such noise.
      expect(requestsOf('poison')).toBeGreaterThanOrEqual(3);
      expect(requestsOf('poison')).toBeLessThanOrEqual(8);
    },
  );

  test('that crashes the engine every time fails alone', RUN_LIMIT, async () => {
    engine.setFaults([{ match: { bodyIncludes: 'poison' }, action: { kind: 'die', reviveAfterMs: 300 } }]);
    const items = withPoison('crashes-the-engine', 60);
    await runJob('crashes the engine', items);
    engine.setFaults([]);
    expect(await outcome(items)).toMatchObject({ succeeded: 59, failed: 1 });
    const [line] = await failedLines();
    console.log(`crashed the engine ${requestsOf('poison')} times, then: ${JSON.stringify(line?.error)}`);
    expect(line).toMatchObject({ custom_id: 'poison', error: { message: expect.any(String) } });
  });
});

// After the poison items: the runner allows their like more attempts once an engine has been this bad.
test('30 % of the requests are answered with 500: every item succeeds', RUN_LIMIT, async () => {
  engine.setFaults([{ match: { rate: 0.3 }, action: { kind: 'status', status: 500 } }]);
  const items = makeItems('30-percent', ITEMS);
  const received = await runJob('30 percent', items);
  expect(await outcome(items)).toMatchObject({ total: ITEMS, succeeded: ITEMS });
  console.log(
    `30 % of 500: ${ITEMS} of ${ITEMS} succeeded, ${(received / ITEMS).toFixed(3)} requests an item`,
  );
  expect(received / ITEMS).toBeLessThanOrEqual(1 / 0.7 + 0.1 + 2 / Math.sqrt(ITEMS));
});

let lastJobId = '';
let requestsBefore = new Map<string, number>();

/** Runs a job to its end. @returns how many requests reached the engine */
async function runJob(key: string, items: readonly Item[], options = {}): Promise<number> {
  requestsBefore = receivedById();
  const before = engine.stats().received;
  const { id } = await client.createJob(key.replaceAll(' ', '-'), items, options);
  lastJobId = id;
  await client.ended(id, 120_000);
  await until('the engine is idle', 10_000, () => (engine.stats().inFlight === 0 ? true : null));
  return engine.stats().received - before;
}

const outcome = (items: readonly Item[]) => client.check(lastJobId, items);

interface FailedLine {
  readonly custom_id: string;
  readonly attempts: number;
  readonly error: { readonly code: string; readonly message: string };
}

async function failedLines(): Promise<FailedLine[]> {
  const text = await client.text(`/v1/jobs/${lastJobId}/errors`);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as FailedLine);
}

function receivedById(): Map<string, number> {
  const received = new Map<string, number>();
  for (const record of engine.requests()) {
    const id = idOfMarker(record.marker);
    received.set(id, (received.get(id) ?? 0) + record.received);
  }
  return received;
}

const requestsOf = (id: string): number => (receivedById().get(id) ?? 0) - (requestsBefore.get(id) ?? 0);

function withPoison(prefix: string, count: number): Item[] {
  const [poison] = makeItems(prefix, 1);
  if (poison === undefined) return [];
  const body = { ...poison.body, messages: [{ role: 'user', content: `poison of ${prefix}` }] };
  const items = makeItems(prefix, count);
  return items.with(Math.floor(count / 2), { custom_id: 'poison', body });
}
