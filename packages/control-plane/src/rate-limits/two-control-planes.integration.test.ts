import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseControlPlaneConfig } from '../config.js';
import { openLedger } from '../ledger/sql-ledger.js';
import { systemClock } from '../ports/clock.js';
import { type ControlPlane, startControlPlane } from '../start-control-plane.js';
import { silentLogger } from '../telemetry/logger.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'limits over two control planes');
const LIMIT = 120;

describe.runIf(serverUrl !== null)('two control planes on one PostgreSQL', () => {
  const name = `limits_${randomUUID().replaceAll('-', '')}`;
  const databaseUrl = new URL(serverUrl ?? 'postgres://localhost');
  databaseUrl.pathname = `/${name}`;
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-limits-'));
  const planes: ControlPlane[] = [];

  async function onServer(statement: string): Promise<void> {
    const client = new Client({ connectionString: serverUrl ?? '' });
    await client.connect();
    await client.query(statement).finally(() => client.end());
  }

  beforeAll(async () => {
    await onServer(`create database ${name}`);
    const ledger = await openLedger({ databaseUrl: databaseUrl.href, clock: systemClock });
    await ledger.migrate();
    await ledger.setProjectLimits({ projectId: 'default', change: { requestsPerMinute: LIMIT } });
    await ledger.close();
    for (const plane of ['one', 'two']) {
      const config = parseControlPlaneConfig({
        BATCH_INFER_DATA: join(folder, plane),
        BATCH_INFER_PORT: '0',
        BATCH_INFER_DATABASE_URL: databaseUrl.href,
      });
      planes.push(await startControlPlane(config, { logger: silentLogger() }));
    }
  });

  afterAll(async () => {
    for (const plane of planes) await plane.close();
    rmSync(folder, { recursive: true, force: true });
    await onServer(`drop database if exists ${name} with (force)`);
  });

  it('let through together what one would', async () => {
    const startedMs = performance.now();
    const ask = async ({ url }: ControlPlane) => {
      const answer = await fetch(`${url}/v1/models`);
      await answer.arrayBuffer();
      return answer;
    };
    let through = 0;
    for (let round = 0; round < LIMIT; round += 1) {
      const answers = await Promise.all(planes.map(ask));
      through += answers.filter(({ status }) => status === 200).length;
    }
    // What the bucket got back while they asked: two a second.
    const refilled = Math.ceil((performance.now() - startedMs) / 500);
    expect(through).toBeGreaterThanOrEqual(LIMIT);
    expect(through).toBeLessThanOrEqual(LIMIT + refilled);
    for (const answer of await Promise.all(planes.map(ask))) {
      expect(answer.headers.get('x-ratelimit-limit-requests')).toBe(String(LIMIT));
    }
  });
});
