import { randomUUID } from 'node:crypto';
import { type EngineSim, startTcpFaultProxy, type TcpFaultProxy } from '@batch-infer/testkit';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { Client as DatabaseClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, makeItems, type Program, ProofStack, until } from './harness.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'connections to PostgreSQL that go silent');

const ITEMS = 1_500;
const STOP_LIMIT_MS = 30_000;

describe.runIf(serverUrl !== null)('all connections to the database go silent at once', () => {
  const stack = new ProofStack();
  const name = `silent_${randomUUID().replaceAll('-', '')}`;
  const admin = new DatabaseClient({ connectionString: serverUrl ?? '' });
  let proxy: TcpFaultProxy;
  let server: Program;
  let engine: EngineSim;
  let client: Client;

  beforeAll(async () => {
    await admin.connect();
    await admin.query(`create database ${name}`);
    const url = new URL(serverUrl ?? '');
    proxy = await startTcpFaultProxy({ targetHost: url.hostname, targetPort: Number(url.port || 5432) });
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    url.pathname = `/${name}`;
    engine = await stack.engine({ slots: 16, serviceTimeMs: 100 });
    server = await stack.serve({
      BATCH_INFER_DATABASE_URL: url.href,
      BATCH_INFER_DATABASE_SILENCE_MS: '5000',
      BATCH_INFER_LOG_LEVEL: 'info',
    });
    client = stack.client;
    await stack.runner(engine, ['--window', '16']);
  });

  afterAll(async () => {
    await stack.close();
    await proxy.close();
    await admin.query(`drop database if exists ${name} with (force)`);
    await admin.end();
  });

  async function lastSuccesses(): Promise<Map<string, number>> {
    const page = await (await fetch(`${stack.url}/metrics`)).text();
    const found = page.matchAll(
      /^batch_infer_loop_last_success_timestamp_seconds\{loop="([^"]+)"\} (\S+)$/gm,
    );
    return new Map([...found].map(([, loop = '', value]) => [loop, Number(value)]));
  }

  test('every loop ticks again and the job ends', { timeout: 180_000 }, async () => {
    const items = makeItems('silent', ITEMS);
    const { id } = await client.createJob('silent', items);
    await until('items are settled', 30_000, async () =>
      (await client.job(id)).counts.succeeded > 50 ? true : null,
    );
    const mutedAt = Date.now() / 1_000;
    proxy.mute();
    await client.ended(id, 120_000);
    expect(await client.check(id, items)).toMatchObject({ succeeded: ITEMS });
    await until('every loop has ticked since', 120_000, async () => {
      const successes = await lastSuccesses();
      return successes.size > 5 && [...successes.values()].every((at) => at > mutedAt) ? true : null;
    });
    expect((await fetch(`${stack.url}/healthz`)).status).toBe(200);
  });

  test('and a stop ends in time, in words', { timeout: 120_000 }, async () => {
    const { id } = await client.createJob('silent-stop', makeItems('silent-stop', ITEMS));
    await until('items are settled', 30_000, async () =>
      (await client.job(id)).counts.succeeded > 50 ? true : null,
    );
    proxy.mute();
    const from = performance.now();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - from).toBeLessThan(STOP_LIMIT_MS);
    expect(server.talk()).toMatch(/"draining".*"stopped"/s);
  });
});
