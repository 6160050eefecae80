import { setTimeout as delay } from 'node:timers/promises';
import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Client,
  type Item,
  idOfMarker,
  LEASE_MS,
  makeItems,
  type Program,
  ProofStack,
  SeededRandom,
  scale,
  summary,
  until,
} from './harness.js';

/** R1: `PROOF_RUNS=50` for the whole proof. */
const RUNS = scale('PROOF_RUNS', 8);
const SEED = scale('PROOF_SEED', 1);
const ITEMS = 300;
/** 300 items through 16 slots of 80 ms take about 1.5 s; kills strike before, during and after. */
const SLOTS = 16;
const SERVICE_MS = 80;
const VICTIMS = ['control plane', 'runner', 'engine', 'everything'] as const;
/** The slack is for processes that start on a machine with other work. */
const RECOVERY_DEADLINE_MS = 2 * LEASE_MS + 30_000;

type Victim = (typeof VICTIMS)[number];

const stack = new ProofStack();
const recoveries: Record<Victim, number[]> = { 'control plane': [], runner: [], engine: [], everything: [] };
const totals = { items: 0, ranAgain: 0, settledAtKill: 0 };
let engine: EngineSim;
let server: Program;
let runner: Program;
let client: Client;

beforeAll(async () => {
  engine = await stack.engine({ slots: SLOTS, serviceTimeMs: SERVICE_MS });
  server = await stack.serve();
  client = stack.client;
  runner = await stack.runner(engine);
});

afterAll(async () => {
  for (const [victim, times] of Object.entries(recoveries)) {
    console.log(`kill -9 of ${victim}: next item settled after ${summary(times)}`);
  }
  console.log(
    `${totals.items} items, ${totals.settledAtKill} settled when killed, ${totals.ranAgain} unsettled ones ran again`,
  );
  await stack.close();
});

const random = new SeededRandom(SEED);
const plan = Array.from({ length: RUNS }, (_, run) => ({
  run,
  victim: VICTIMS[run % VICTIMS.length] ?? 'runner',
  killAfterMs: Math.round(random.between(-5, 1_900)),
  downMs: Math.round(random.between(300, 1_000)),
}));

describe('a process is killed with -9 while a job runs', () => {
  test.each(plan)(
    'run $run: $victim at $killAfterMs ms, back $downMs ms later: nothing lost, doubled or stuck',
    { timeout: 120_000 },
    async ({ run, victim, killAfterMs, downMs }) => {
      const items = makeItems(`run${run}`, ITEMS);
      const creating = client.createJob(`run-${run}`, items, { metadata: { run: String(run) } });
      // A negative instant: the kill falls into the creation, whose client then asks again.
      if (killAfterMs > 0) await creating;
      await delay(Math.abs(killAfterMs));

      const settled = killAfterMs > 0 ? await settledIds((await creating).id) : new Set<string>();
      const receivedBefore = receivedById(items);
      const killedAt = performance.now();
      await kill(victim);
      await delay(downMs);
      const back = revive(victim);

      const { id } = await creating;
      if (settled.size < ITEMS) {
        await until(`an item of ${id} settled after the kill`, RECOVERY_DEADLINE_MS, async () =>
          (await settledIds(id)).size > settled.size ? true : null,
        );
        recoveries[victim].push(performance.now() - killedAt);
      }
      await back;
      const job = await client.ended(id, RECOVERY_DEADLINE_MS + 15_000);
      expect(job.status).toBe('succeeded');
      expect(await client.check(id, items)).toMatchObject({ total: ITEMS, succeeded: ITEMS });
      await expectOneJob(run);

      const receivedAfter = receivedById(items);
      const ranThoughSettled = [...settled].filter(
        (item) => receivedAfter.get(item) !== receivedBefore.get(item),
      );
      expect(ranThoughSettled).toEqual([]);
      totals.items += ITEMS;
      totals.settledAtKill += settled.size;
      totals.ranAgain += completedAgain(items);
    },
  );
});

/** Of everything: as when the machine loses its power. */
const strikes = (victim: Victim, one: Victim): boolean => victim === one || victim === 'everything';

async function kill(victim: Victim): Promise<void> {
  await Promise.all([
    strikes(victim, 'engine') ? engine.kill() : null,
    strikes(victim, 'runner') ? runner.crash() : null,
    strikes(victim, 'control plane') ? server.crash() : null,
  ]);
}

async function revive(victim: Victim): Promise<void> {
  if (strikes(victim, 'engine')) await engine.revive();
  if (strikes(victim, 'control plane')) server = await stack.serve();
  if (strikes(victim, 'runner')) runner = await stack.runner(engine);
}

async function settledIds(jobId: string): Promise<Set<string>> {
  const lines = await client.endedLines(jobId);
  return new Set(lines.map((line) => (JSON.parse(line) as { custom_id: string }).custom_id));
}

/** How often the engine was asked for each item. */
function receivedById(items: readonly Item[]): Map<string, number> {
  const wanted = new Set(items.map((item) => item.custom_id));
  const received = engine.requests().map((record) => [idOfMarker(record.marker), record.received] as const);
  return new Map(received.filter(([id]) => wanted.has(id)));
}

/** Answers that the engine gave beyond one for each item. */
function completedAgain(items: readonly Item[]): number {
  const wanted = new Set(items.map((item) => item.custom_id));
  return engine
    .requests()
    .filter((record) => wanted.has(idOfMarker(record.marker)))
    .reduce((sum, record) => sum + Math.max(0, record.completed - 1), 0);
}

async function expectOneJob(run: number): Promise<void> {
  const { data } = await client.get<{ data: { id: string }[] }>(
    `/v1/jobs?${encodeURIComponent('metadata[run]')}=${run}`,
  );
  expect(data).toHaveLength(1);
}
