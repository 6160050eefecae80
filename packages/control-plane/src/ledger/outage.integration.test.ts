import { randomUUID } from 'node:crypto';
import { startTcpFaultProxy, type TcpFaultProxy } from '@batch-infer/testkit';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { sql } from 'kysely';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { CommitUnknownError, StoreBusyError, StoreUnavailableError } from '../ports/outage.js';
import { type Database, openDatabase } from './dialect.js';
import { migrate } from './migrate.js';
import { createOwnDatabase } from './own-database-fixture.js';
import { openLedger } from './sql-ledger.js';
import { range } from './world-conformance.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'outages of PostgreSQL');

const QUICK = { connectMs: 1_000, queryMs: 500, idleMs: 200, signMs: 200 };

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A way to the database that can be cut. */
async function openProxied(): Promise<{ proxy: TcpFaultProxy; databaseUrl: string }> {
  const url = new URL(serverUrl ?? 'postgres://localhost');
  const proxy = await startTcpFaultProxy({
    targetHost: url.hostname,
    targetPort: Number(url.port || 5432),
  });
  cleanups.push(() => proxy.close());
  url.hostname = '127.0.0.1';
  url.port = String(proxy.port);
  return { proxy, databaseUrl: url.href };
}

async function openProxiedLedger(): Promise<{ proxy: TcpFaultProxy; ledger: Ledger }> {
  const { proxy, databaseUrl } = await openProxied();
  const ledger = await openLedger({ databaseUrl, clock: systemClock, connectionLimits: QUICK });
  cleanups.push(() => ledger.close());
  await ledger.migrate();
  return { proxy, ledger };
}

const askingOf = (ledger: Ledger) => [
  () => ledger.getJob({ projectId: 'p', id: 'job_none' }),
  () => ledger.getApiKey({ id: 'key_none' }),
  () => ledger.check(),
  () => ledger.releaseShard({ shardId: 'shard_none', epoch: 1, nowMs: 0 }),
];

describe.runIf(serverUrl !== null)('a database that goes away', () => {
  it('is an outage to reads and transactions alike, and is used again when it is back', async () => {
    const { proxy, ledger } = await openProxiedLedger();
    const ask = askingOf(ledger);
    for (const each of ask) await each();
    await proxy.refuse();
    for (const each of ask) await expect(each()).rejects.toBeInstanceOf(StoreUnavailableError);
    await proxy.pass();
    for (const each of ask) await each();
  });
});

describe.runIf(serverUrl !== null)('connections that go silent without being closed', () => {
  it('are replaced when they are used again after a while', async () => {
    const { proxy, ledger } = await openProxiedLedger();
    const ask = askingOf(ledger);
    await Promise.all(ask.map((each) => each()));
    proxy.mute();
    await expect
      .poll(() => Promise.all(ask.map((each) => each())).then(() => 'answered', String))
      .toBe('answered');
  });

  it('fail what runs on them within the deadline, and no connection of before is used after that', async () => {
    const { proxy, databaseUrl } = await openProxied();
    const database = await openDatabase({ databaseUrl, connectionLimits: { ...QUICK, idleMs: 60_000 } });
    cleanups.push(() => database.close());
    const ask = () => sql<{ answer: number }>`select 1 as answer`.execute(database.db);
    await Promise.all(range(0, 8).map(ask));
    const running = sql`select pg_sleep(60)`.execute(database.db);
    const failed = expect(running).rejects.toThrow(StoreUnavailableError);
    await expect(
      database.transaction(async ({ db }) => {
        await sql`select 1`.execute(db);
        proxy.mute();
        await sql`select 2`.execute(db);
      }),
    ).rejects.toThrow(StoreUnavailableError);
    await failed;
    await Promise.all(range(0, 20).map(ask));
  });
});

describe.runIf(serverUrl !== null)('a transaction whose end is not told', () => {
  async function count(database: Database): Promise<number | undefined> {
    const row = await database.db
      .selectFrom('meta')
      .select('value')
      .where('name', '=', name)
      .executeTakeFirst();
    return row?.value;
  }
  const name = `value-${randomUUID()}`;
  const write = (database: Database, value: number) =>
    database.transaction(async ({ db }) => {
      await db
        .insertInto('meta')
        .values({ name, value })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
        .execute();
    });

  it('is unknown when COMMIT was sent, and stands if the server took it', async () => {
    const { proxy, databaseUrl } = await openProxied();
    const database = await openDatabase({ databaseUrl, connectionLimits: QUICK });
    cleanups.push(() => database.close());
    await migrate(database);
    proxy.loseAnswerTo('commit');
    await expect(write(database, 1)).rejects.toThrow(CommitUnknownError);
    expect(await count(database)).toBe(1);
  });

  it('is unknown when the answer to COMMIT does not come in time', async () => {
    const { proxy, databaseUrl } = await openProxied();
    const database = await openDatabase({ databaseUrl, connectionLimits: QUICK });
    cleanups.push(() => database.close());
    await migrate(database);
    const muted = database.transaction(async ({ db }) => {
      await sql`select 1`.execute(db);
      proxy.mute();
    });
    await expect(muted).rejects.toThrow(CommitUnknownError);
  });

  it('is unknown in the same way where one statement outside a transaction writes', async () => {
    const { proxy, databaseUrl } = await openProxied();
    const database = await openDatabase({ databaseUrl, connectionLimits: QUICK });
    cleanups.push(() => database.close());
    await migrate(database);
    await write(database, 1);
    proxy.loseAnswerTo('update "meta"');
    const update = database.db.updateTable('meta').set({ value: 2 }).where('name', '=', name).execute();
    await expect(update).rejects.toThrow(CommitUnknownError);
    expect(await count(database)).toBe(2);
    proxy.loseAnswerTo('select "value"');
    const read = count(database);
    await expect(read).rejects.toThrow(StoreUnavailableError);
    await expect(read).rejects.not.toThrow(CommitUnknownError);
  });

  it('is known to have done nothing when the connection was lost before COMMIT', async () => {
    const { proxy, databaseUrl } = await openProxied();
    const database = await openDatabase({ databaseUrl, connectionLimits: QUICK });
    cleanups.push(() => database.close());
    await migrate(database);
    const cut = database.transaction(async ({ db }) => {
      await sql`select 1`.execute(db);
      proxy.dropConnections();
      await sql`select 2`.execute(db);
    });
    await expect(cut).rejects.toThrow(StoreUnavailableError);
    await expect(cut).rejects.not.toThrow(CommitUnknownError);
  });
});

describe.runIf(serverUrl !== null)('a pool whose connections are all in use', () => {
  it('says that it is busy, which is no outage of the database', async () => {
    const { databaseUrl } = await openProxied();
    const database = await openDatabase({
      databaseUrl,
      maxConnections: 1,
      connectionLimits: { ...QUICK, connectMs: 100 },
    });
    cleanups.push(() => database.close());
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const holding = database.transaction(() => held);
    await expect(sql`select 1`.execute(database.db)).rejects.toThrow(StoreBusyError);
    release();
    await holding;
    await sql`select 1`.execute(database.db);
  });
});

describe.runIf(serverUrl !== null)('a database that takes no writes', () => {
  it('is unavailable, and is used again when it takes them', async () => {
    const own = await createOwnDatabase(serverUrl ?? '');
    const ledger = await openLedger({ databaseUrl: own.databaseUrl, clock: systemClock });
    const setReadOnly = async (value: 'on' | 'off') => {
      await own.query(`alter database OWN_DATABASE set default_transaction_read_only = ${value}`);
      await own.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'OWN_DATABASE'",
      );
    };
    try {
      await ledger.migrate();
      await setReadOnly('on');
      await expect
        .poll(() => ledger.check().catch((error: unknown) => (error instanceof Error ? error.cause : error)))
        .toMatchObject({ code: '25006' });
      await expect(ledger.check()).rejects.toThrow(StoreUnavailableError);
      await own.query('alter database OWN_DATABASE set default_transaction_read_only = off');
      await expect.poll(() => ledger.check().then(() => 'written', String)).toBe('written');
    } finally {
      await ledger.close();
      await own.drop();
    }
  });
});
