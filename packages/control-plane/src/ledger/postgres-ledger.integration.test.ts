import { randomUUID } from 'node:crypto';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { Client } from 'pg';
import { afterAll, beforeAll, describe } from 'vitest';
import { systemClock } from '../ports/clock.js';
import { backlogGrowthConformance } from './backlog-growth-conformance.js';
import { openDatabase } from './dialect.js';
import { ledgerConformance } from './ledger-conformance.js';
import { openLedger, sqlLedger } from './sql-ledger.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'the ledger on PostgreSQL');

async function run(databaseUrl: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

const TABLES = [
  'project',
  'api_key',
  'file',
  'job',
  'shard',
  'shard_order',
  'segment',
  'idempotency',
  'runner',
  'meta',
  'upload',
  'upload_part',
  'webhook_endpoint',
  'webhook_secret',
  'webhook_delivery',
  'project_limits',
  'reuse_index',
  'request_budget',
  'lane',
  'temporary_blob',
];

describe.runIf(serverUrl !== null)('with a real server', () => {
  // A database of its own, emptied before each test: making one costs a second on a busy disk.
  const name = `conformance_${randomUUID().replaceAll('-', '')}`;
  const databaseUrl = new URL(serverUrl ?? 'postgres://localhost');
  databaseUrl.pathname = `/${name}`;

  beforeAll(async () => {
    await run(serverUrl ?? '', `create database ${name}`);
    const ledger = await openLedger({ databaseUrl: databaseUrl.href, clock: systemClock });
    await ledger.migrate();
    await ledger.close();
  });

  afterAll(() => run(serverUrl ?? '', `drop database if exists ${name} with (force)`));

  ledgerConformance('PostgreSQL', async () => {
    await run(databaseUrl.href, TABLES.map((table) => `delete from ${table}`).join(';'));
    const ledger = await openLedger({ databaseUrl: databaseUrl.href, clock: systemClock });
    return { ledger, close: () => ledger.close() };
  });

  backlogGrowthConformance('PostgreSQL', async (onStatement) => {
    await run(databaseUrl.href, TABLES.map((table) => `delete from ${table}`).join(';'));
    const database = await openDatabase({ databaseUrl: databaseUrl.href, onStatement });
    const ledger = sqlLedger(database, systemClock);
    return { ledger, database, close: () => ledger.close() };
  });
});
