import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type BetterSqlite from 'better-sqlite3';
import {
  Kysely,
  type Logger,
  PostgresDialect,
  type RawBuilder,
  SqliteDialect,
  type SqliteStatement,
  sql,
} from 'kysely';
import { reportProgress } from '../loops/progress.js';
import { StorageFullError } from '../ports/blobs.js';
import { CommitUnknownError } from '../ports/outage.js';
import { type Begin, groupCommits } from './group-commit.js';
import {
  CONNECTION_LIMITS,
  type ConnectionLimits,
  KEEP_ALIVE_DELAY_MS,
  WatchedPool,
} from './postgres-connections.js';
import { codeOf } from './postgres-errors.js';
import type { Schema } from './schema.js';

/** Everything in which the two databases differ stands in this file. */

/** What a query runs in: a transaction, or the database itself for single reads. */
export interface Session {
  readonly db: Kysely<Schema>;
  /** True where rows must be locked by the query that reads them for a change (PostgreSQL). SQLite has one writer. */
  readonly locksRows: boolean;
}

/** A session inside `transaction`. */
export interface TransactionSession extends Session {
  /** Waits until no other transaction that named the same text is open. */
  serialize(text: string): Promise<void>;
}

export interface Database extends Session {
  /**
   * Runs `work` in one write transaction; again from the start when the database ended it because of others
   * (deadlock, serialization failure, busy). Nothing outside the database may be changed inside it.
   */
  transaction<T>(work: (session: TransactionSession) => Promise<T>): Promise<T>;
  /** Runs `work` while no other process migrates. */
  withMigrationLock<T>(work: () => Promise<T>): Promise<T>;
  /** SQL type of a mask column. */
  readonly maskType: 'blob' | 'bytea';
  /** Condition: the text column holds this text. */
  contains(column: 'labels', text: string): RawBuilder<boolean>;
  /** The server's clock, epoch milliseconds; `null` without a server. */
  serverTimeMs(): Promise<number | null>;
  /** How long ago the server last answered anything; 0 without a server. */
  silentForMs(): number;
  close(): Promise<void>;
}

/** Told of each statement that was run: its text, and how many parameters were bound. */
export type OnStatement = (statement: { readonly text: string; readonly parameters: number }) => void;

/** Every statement that ends shows that its loop still goes on. */
const statementLog =
  (onStatement?: OnStatement): Logger =>
  ({ query: { sql: text, parameters } }) => {
    reportProgress();
    onStatement?.({ text, parameters: parameters.length });
  };

/**
 * Opens a database.
 * @param options.databaseUrl `postgres://…`; without it SQLite in `options.sqliteFile` (`:memory:` for tests)
 */
export async function openDatabase(options: {
  databaseUrl?: string | null;
  sqliteFile?: string | null;
  /** Connections to PostgreSQL at most; 10. */
  maxConnections?: number;
  /** Of connections to PostgreSQL. */
  connectionLimits?: ConnectionLimits;
  onStatement?: OnStatement;
}): Promise<Database> {
  if (options.databaseUrl) {
    return openPostgres(
      options.databaseUrl,
      options.maxConnections ?? 10,
      options.connectionLimits ?? CONNECTION_LIMITS,
      options.onStatement,
    );
  }
  if (options.sqliteFile) return openSqlite(options.sqliteFile, options.onStatement);
  throw new Error('openDatabase needs databaseUrl or sqliteFile.');
}

// ── SQLite ─────────────────────────────────────────────────────────────────────────────────────────────────────────

async function openSqlite(file: string, onStatement?: OnStatement): Promise<Database> {
  const { default: Sqlite } = await import('better-sqlite3');
  if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true });
  const connection = new Sqlite(file, { timeout: 5_000 });
  connection.pragma('journal_mode = WAL');
  // An accepted job survives a power cut (I1): every commit reaches the disk.
  connection.pragma('synchronous = FULL');
  connection.pragma('cache_size = -16384');
  connection.pragma('temp_store = MEMORY');
  // Kysely hands the one connection to one transaction at a time (its ConnectionMutex), so they never interleave; those
  // that wait for it share a commit.
  const db = new Kysely<Schema>({
    dialect: new SqliteDialect({ database: cachingStatements(connection) }),
    log: statementLog(onStatement),
  });
  const begin = groupCommits(db, () => connection.inTransaction);
  return {
    db,
    locksRows: false,
    maskType: 'blob',
    transaction: (work) => transact(begin, false, work),
    // The data folder's lock keeps other processes out.
    withMigrationLock: (work) => work(),
    contains: (column, text) => sql<boolean>`instr(${sql.ref(column)}, ${text}) > 0`,
    serverTimeMs: async () => null,
    silentForMs: () => 0,
    close: async () => {
      await db.destroy();
      if (connection.open) connection.close();
    },
  };
}

const CACHED_STATEMENTS = 256;

/**
 * Keeps prepared statements, which Kysely would prepare again for each query, and begins transactions as writers:
 * one that begins as a reader cannot always become a writer.
 */
function cachingStatements(connection: BetterSqlite.Database): {
  close(): void;
  prepare(text: string): SqliteStatement;
} {
  const statements = new Map<string, SqliteStatement>();
  return {
    close: () => {
      statements.clear();
      connection.close();
    },
    prepare: (text) => {
      const known = statements.get(text);
      if (known !== undefined) return known;
      if (text === 'rollback') return rollbackOf(connection);
      if (text === 'commit') return commitOf(connection);
      const statement = connection.prepare(text === 'begin' ? 'begin immediate' : text);
      if (statements.size >= CACHED_STATEMENTS) statements.delete(statements.keys().next().value ?? '');
      statements.set(text, statement);
      return statement;
    },
  };
}

/** SQLite has rolled back by itself when the disk is full: a second rollback would fail and hide why. */
function rollbackOf(connection: BetterSqlite.Database): SqliteStatement {
  const statement = connection.prepare('rollback');
  return {
    reader: false,
    all: () => [],
    iterate: () => [][Symbol.iterator](),
    run: () => (connection.inTransaction ? statement.run() : { changes: 0, lastInsertRowid: 0 }),
  };
}

/** A disk that fails in the middle of a commit leaves open whether its end was written. */
function commitOf(connection: BetterSqlite.Database): SqliteStatement {
  const statement = connection.prepare('commit');
  return {
    reader: false,
    all: () => [],
    iterate: () => [][Symbol.iterator](),
    run: () => {
      try {
        return statement.run();
      } catch (error) {
        if (!codeOf(error).startsWith('SQLITE_IOERR')) throw error;
        throw new CommitUnknownError('The disk failed during a commit: it may stand or not.', {
          cause: error,
        });
      }
    },
  };
}

// ── PostgreSQL ─────────────────────────────────────────────────────────────────────────────────────────────────────

const INT8_OID = 20;
const NUMERIC_OID = 1700;
/** Any constant that other programs in the database do not use for an advisory lock. */
const MIGRATION_LOCK_ID = 4_211_906_513;

/** Shorter than `CONNECTION_LIMITS.queryMs`. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** What a transaction holds is free again after this when its process was lost without a word. */
const IDLE_TRANSACTION_MS = 20_000;

async function openPostgres(
  databaseUrl: string,
  maxConnections: number,
  limits: ConnectionLimits,
  onStatement?: OnStatement,
): Promise<Database> {
  const { Pool, types } = await import('pg');
  const pool = new Pool({
    connectionString: databaseUrl,
    max: maxConnections,
    application_name: 'batch-infer',
    connectionTimeoutMillis: limits.connectMs,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_MS,
    types: {
      // Epoch milliseconds, byte counts and sums of them stay below 2^53.
      getTypeParser: (oid, format) =>
        oid === INT8_OID || oid === NUMERIC_OID ? Number : types.getTypeParser(oid, format),
    },
  });
  const watched = new WatchedPool(pool, limits);
  const db = new Kysely<Schema>({
    dialect: new PostgresDialect({ pool: watched }),
    log: statementLog(onStatement),
  });
  return {
    db,
    locksRows: true,
    maskType: 'bytea',
    transaction: (work) => transact((part) => db.transaction().execute(part), true, work),
    withMigrationLock: async (work) => {
      const client = await pool.connect();
      try {
        await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK_ID]);
        return await work();
      } finally {
        await client.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK_ID]).catch(() => undefined);
        client.release();
      }
    },
    contains: (column, text) => sql<boolean>`strpos(${sql.ref(column)}, ${text}) > 0`,
    serverTimeMs: async () => {
      const { rows } = await sql<{
        now: number;
      }>`select extract(epoch from clock_timestamp()) * 1000 as now`.execute(db);
      return rows[0]?.now ?? null;
    },
    silentForMs: () => watched.silentForMs(),
    close: async () => {
      await db.destroy();
    },
  };
}

// ── both ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const MAX_ATTEMPTS = 10;

async function transact<T>(
  begin: Begin,
  locksRows: boolean,
  work: (session: TransactionSession) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await begin((transaction) =>
        work({
          db: transaction,
          locksRows,
          serialize: async (text) => {
            if (!locksRows) return;
            await sql`select pg_advisory_xact_lock(hashtextextended(${text}, 0))`.execute(transaction);
          },
        }),
      );
    } catch (error) {
      if (isStorageFull(error)) {
        throw new StorageFullError('The disk of the database is full. Free some space and try again.', {
          cause: error,
        });
      }
      if (attempt >= MAX_ATTEMPTS || !isTransient(error)) throw error;
    }
    await delay(Math.random() * Math.min(5 * 2 ** attempt, 500));
  }
}

/** The transaction was ended because of others and may succeed when it is run again. */
export function isTransient(error: unknown): boolean {
  const code = codeOf(error);
  return code === '40P01' || code === '40001' || code.startsWith('SQLITE_BUSY');
}

function isStorageFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'SQLITE_FULL' || code === '53100';
}
