import { setTimeout as delay } from 'node:timers/promises';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg, { type PoolConfig } from 'pg';
import type { Database } from './dialect.js';
import { type ConnectionLimits, KEEP_ALIVE_DELAY_MS, WatchedPool } from './postgres-connections.js';
import { codeOf, toStoreError } from './postgres-errors.js';
import type { Schema } from './schema.js';
import { type OnStatement, statementLog } from './statement-log.js';
import { transact } from './transactions.js';

const INT8_OID = 20;
const NUMERIC_OID = 1700;
/** Any constant that other programs in the database do not use for an advisory lock. */
const MIGRATION_LOCK_ID = 4_211_906_513;
const LOCK_INTERVAL_MS = 500;
const WAITING_NOTICE_MS = 10_000;

/** Share of our own limit after which a living server ends a statement by itself. */
const SERVER_SHARE = 6 / 7;
/** What a transaction holds is free again after this when its process was lost without a word. */
const IDLE_TRANSACTION_MS = 20_000;

/** @throws StoreUnavailableError when the server cannot be reached, and what it refuses with */
export async function openPostgres(params: {
  databaseUrl: string;
  maxConnections: number;
  limits: ConnectionLimits;
  onStatement?: OnStatement | undefined;
}): Promise<Database> {
  const { limits } = params;
  const settings: PoolConfig = {
    connectionString: params.databaseUrl,
    application_name: 'batch-infer',
    connectionTimeoutMillis: limits.connectMs,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
    types: {
      // Epoch milliseconds, byte counts and sums of them stay below 2^53.
      getTypeParser: (oid, format) =>
        oid === INT8_OID || oid === NUMERIC_OID ? Number : pg.types.getTypeParser(oid, format),
    },
  };
  const serverLimits = {
    statement_timeout: Math.round(limits.queryMs * SERVER_SHARE),
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS,
  };
  const takesLimits = await takesStartupParameters({ ...settings, ...serverLimits });
  const pool = new pg.Pool({
    ...settings,
    ...(takesLimits ? serverLimits : {}),
    max: params.maxConnections,
  });
  const watched = new WatchedPool(pool, limits, {
    // Behind a pooler a session is not ours: its limits hold for each transaction by itself.
    begin: takesLimits
      ? 'begin'
      : `begin; set local statement_timeout = ${serverLimits.statement_timeout}; set local idle_in_transaction_session_timeout = ${IDLE_TRANSACTION_MS}`,
  });
  const db = new Kysely<Schema>({
    dialect: new PostgresDialect({ pool: watched }),
    log: statementLog(params.onStatement),
  });
  return {
    db,
    locksRows: true,
    maskType: 'bytea',
    transaction: (work) => transact((part) => db.transaction().execute(part), true, work),
    withMigrationLock: (work, onWaiting) => withMigrationLock(settings, { work, onWaiting }),
    contains: (column, text) => sql<boolean>`strpos(${sql.ref(column)}, ${text}) > 0`,
    serverTimeMs: async () => {
      const { rows } = await sql<{
        now: number;
      }>`select extract(epoch from clock_timestamp()) * 1000 as now`.execute(db);
      return rows[0]?.now ?? null;
    },
    silentForMs: () => watched.silentForMs(),
    close: () => db.destroy(),
  };
}

/** Poolers (PgBouncer) refuse start-up parameters that they do not know. @throws any other refusal */
async function takesStartupParameters(settings: PoolConfig): Promise<boolean> {
  const client = new pg.Client(settings);
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch (error) {
    if (codeOf(error) === '08P01' && error instanceof Error && /startup parameter/i.test(error.message)) {
      return false;
    }
    throw toStoreError(error);
  } finally {
    client.connection.stream.destroy();
  }
}

/**
 * Migrations run on connections of their own, without limits: an index on a large table takes its time. The lock is one
 * of a transaction, because a pooler gives the next statement of a session to any connection.
 */
async function withMigrationLock<T>(
  settings: PoolConfig,
  {
    work,
    onWaiting,
  }: { work: (db: Kysely<Schema>) => Promise<T>; onWaiting?: ((seconds: number) => void) | undefined },
): Promise<T> {
  const pool = new pg.Pool({ ...settings, max: 2 });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => {
    client.on('error', () => undefined);
  });
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  try {
    return await db.transaction().execute(async (lock) => {
      await sql`set local idle_in_transaction_session_timeout = 0`.execute(lock);
      await waitForLock(lock, onWaiting ?? (() => undefined));
      return await work(db);
    });
  } catch (error) {
    throw toStoreError(error);
  } finally {
    await db.destroy();
  }
}

async function waitForLock(db: Kysely<Schema>, onWaiting: (seconds: number) => void): Promise<void> {
  const beganAtMs = performance.now();
  let saidAtMs = beganAtMs;
  for (;;) {
    const { rows } = await sql<{
      taken: boolean;
    }>`select pg_try_advisory_xact_lock(${MIGRATION_LOCK_ID}) as taken`.execute(db);
    if (rows[0]?.taken === true) return;
    const nowMs = performance.now();
    if (nowMs - saidAtMs >= WAITING_NOTICE_MS) {
      saidAtMs = nowMs;
      onWaiting(Math.round((nowMs - beganAtMs) / 1_000));
    }
    await delay(LOCK_INTERVAL_MS);
  }
}
