import { randomUUID } from 'node:crypto';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { Client } from 'pg';
import { afterAll, beforeAll, describe } from 'vitest';
import { systemClock } from '../ports/clock.js';
import { ledgerConformance } from './ledger-conformance.js';
import { openLedger } from './sql-ledger.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'the ledger on PostgreSQL');

const databaseUrl = (name: string): string => {
  const url = new URL(serverUrl ?? 'postgres://localhost');
  url.pathname = `/${name}`;
  return url.href;
};

async function run(...statements: string[]): Promise<void> {
  const client = new Client({ connectionString: serverUrl ?? '' });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

describe.runIf(serverUrl !== null)('with a real server', () => {
  // Each test has a database of its own, copied from one that is migrated.
  const template = `conformance_${randomUUID().replaceAll('-', '')}`;

  beforeAll(async () => {
    await run(`create database ${template}`);
    const ledger = await openLedger({ databaseUrl: databaseUrl(template), clock: systemClock });
    await ledger.migrate();
    await ledger.close();
  });

  afterAll(() => run(`drop database if exists ${template} with (force)`));

  let count = 0;
  ledgerConformance('PostgreSQL', async () => {
    count += 1;
    const name = `${template}_${count}`;
    await run(`create database ${name} template ${template}`);
    const ledger = await openLedger({ databaseUrl: databaseUrl(name), clock: systemClock });
    return {
      ledger,
      close: async () => {
        await ledger.close();
        await run(`drop database ${name} with (force)`);
      },
    };
  });
});
