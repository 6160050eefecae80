import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  type Client,
  isFullRun,
  type JobView,
  makeItems,
  type Program,
  ProofStack,
  summary,
  until,
} from './harness.js';

const ITEMS = 400;
const SERVICE_MS = 100;
const SLOTS = 16;

const stack = new ProofStack();
const runners: Program[] = [];
let engine: EngineSim;
let server: Program;
let client: Client;

beforeAll(async () => {
  engine = await stack.engine({ slots: SLOTS, serviceTimeMs: SERVICE_MS });
  server = await stack.serve();
  client = stack.client;
  runners.push(await stack.runner(engine, ['--window', '16']));
});

afterEach(() => engine.setFaults([]));
afterAll(() => stack.close());

describe('R7: restarts under load', () => {
  test('SIGTERM drains a runner: exit 0, no failed item, nothing settled runs again', {
    timeout: 120_000,
  }, async () => {
    const items = makeItems('drain-runner', ITEMS);
    const { id } = await client.createJob('drain-runner', items);
    await succeeded(id, 60);
    runners.push(await stack.runner(engine, ['--window', '16']));
    const [old] = runners.splice(0, 1);
    expect(await old?.stop()).toEqual({ code: 0, signal: null });
    await client.ended(id, 30_000);
    expect(await client.check(id, items)).toMatchObject({ succeeded: ITEMS });
    const again = engine.requests().filter((record) => record.completed > 1);
    expect(again).toEqual([]);
  });

  test('a second SIGTERM ends a runner at once', { timeout: 120_000 }, async () => {
    engine.setFaults([{ action: { kind: 'slow', factor: 100 } }]);
    const extra = await stack.runner(engine, ['--window', '8']);
    const items = makeItems('second-signal', 64);
    const { id } = await client.createJob('second-signal', items);
    await until('requests are in flight', 10_000, () => (engine.stats().inFlight > 0 ? true : null));
    extra.signal('SIGTERM');
    const from = performance.now();
    extra.signal('SIGTERM');
    await extra.exited;
    console.log(`second SIGTERM: gone after ${Math.round(performance.now() - from)} ms`);
    await client.post(`/v1/jobs/${id}/cancel`, {});
    await client.ended(id, 30_000);
    await client.check(id, items);
  });

  test('rolling restart of the control plane: no failed item, no 5xx but refused connections on reads', {
    timeout: 120_000,
  }, async () => {
    const items = makeItems('rolling', ITEMS);
    const { id } = await client.createJob('rolling', items);
    const reads = readSteadily(id);
    for (const least of [40, 160]) {
      await succeeded(id, least);
      expect(await server.stop()).toEqual({ code: 0, signal: null });
      server = await stack.serve();
    }
    await client.ended(id, 30_000);
    const { statuses, refused } = await reads.stop();
    console.log(
      `reads while it restarted twice: ${JSON.stringify(statuses)}, ${refused} refused connections`,
    );
    expect(Object.keys(statuses).filter((status) => Number(status) >= 500)).toEqual([]);
    expect(await client.check(id, items)).toMatchObject({ succeeded: ITEMS });
  });
});

describe('R11: a job is stopped', () => {
  test('cancel: the engine sees nothing new, and output and error lines make the total', {
    timeout: 120_000,
  }, async () => {
    const lastRequest: number[] = [];
    const idle: number[] = [];
    for (let run = 0; run < 3; run += 1) {
      const items = makeItems(`cancel-${run}`, ITEMS);
      const { id } = await client.createJob(`cancel-${run}`, items);
      await succeeded(id, 40 + 60 * run);
      const cancelledAt = Date.now();
      const answer = await client.post(`/v1/jobs/${id}/cancel`, {});
      expect(answer.status).toBe(200);
      const job = await client.ended(id, 15_000);
      expect(job.status).toBe('cancelled');
      const counts = await client.check(id, items);
      expect(counts.succeeded + counts.cancelled).toBe(ITEMS);
      expect(counts.cancelled).toBeGreaterThan(0);
      const stats = engine.stats();
      lastRequest.push(Math.max(0, (stats.lastRequestAt ?? 0) - cancelledAt));
      idle.push(Math.max(0, (stats.idleSince ?? Date.now()) - cancelledAt));
      // Final means final: not one request more.
      const { received } = stats;
      await until('two sweeps have passed', 5_000, () => (Date.now() > cancelledAt + 2_000 ? true : null));
      expect(engine.stats().received).toBe(received);
    }
    console.log(`cancel to the last request at the engine: ${summary(lastRequest)}`);
    console.log(`cancel to an idle engine: ${summary(idle)}`);
    expect(Math.max(...idle)).toBeLessThan(10_000);
  });

  test.runIf(isFullRun())(
    'expiry after a window of one minute keeps what is done',
    { timeout: 180_000 },
    async () => {
      engine.setFaults([{ match: { bodyIncludes: 'expire-5' }, action: { kind: 'hang' } }]);
      const items = makeItems('expire', 60);
      const { id } = await client.createJob('expire', items, { completion_window: '1m' });
      const job = await client.ended(id, 90_000);
      expect(job.status).toBe('expired');
      const counts = await client.check(id, items);
      console.log(`expired after a minute: ${JSON.stringify(counts)}`);
      expect(counts.succeeded).toBe(49);
      expect(counts.expired).toBe(11);
    },
  );
});

const succeeded = (id: string, least: number): Promise<JobView> =>
  until(`${least} items of ${id} succeeded`, 30_000, async () => {
    const job = await client.job(id);
    return job.counts.succeeded >= least ? job : null;
  });

/** Reads a job's status again and again, as a dashboard would. */
function readSteadily(id: string): {
  stop: () => Promise<{ statuses: Record<string, number>; refused: number }>;
} {
  const seen = { statuses: {} as Record<string, number>, refused: 0 };
  let stopped = false;
  const reading = (async () => {
    while (!stopped) {
      try {
        const { status } = await fetch(`${client.url}/v1/jobs/${id}`);
        seen.statuses[status] = (seen.statuses[status] ?? 0) + 1;
      } catch {
        seen.refused += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  return {
    async stop() {
      stopped = true;
      await reading;
      return seen;
    },
  };
}
