import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type BetterSqlite from 'better-sqlite3';
import { Kysely, type RawBuilder, SqliteDialect, type SqliteStatement, sql } from 'kysely';
import { CommitUnknownError } from '../ports/outage.js';
import { groupCommits } from './group-commit.js';
import { CONNECTION_LIMITS, type ConnectionLimits } from './postgres-connections.js';
import { codeOf } from './postgres-errors.js';
import { makePrivateDatabaseFile } from './private-database.js';
import type { Schema } from './schema.js';
import { type OnStatement, statementLog } from './statement-log.js';
import { transact } from './transactions.js';

/** Everything in which the two databases differ stands here and in `postgres.ts`. */

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
  /**
   * Runs `work` while no other process migrates; its statements may take any time.
   * @param onWaiting called about every 10 seconds while another process does
   */
  withMigrationLock<T>(
    work: (db: Kysely<Schema>) => Promise<T>,
    onWaiting?: (seconds: number) => void,
  ): Promise<T>;
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
    const { openPostgres } = await import('./postgres.js');
    return openPostgres({
      databaseUrl: options.databaseUrl,
      maxConnections: options.maxConnections ?? 10,
      limits: options.connectionLimits ?? CONNECTION_LIMITS,
      onStatement: options.onStatement,
    });
  }
  if (options.sqliteFile) return openSqlite(options.sqliteFile, options.onStatement);
  throw new Error('openDatabase needs databaseUrl or sqliteFile.');
}

// ── SQLite ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** How long a start waits for another program that holds the file (a backup, a shell). */
const BOOT_BUSY_MS = 5_000;
/** The same for a statement: nothing else happens in the process meanwhile. Transactions are tried again. */
const BUSY_MS = 50;

async function openSqlite(file: string, onStatement?: OnStatement): Promise<Database> {
  const { default: Sqlite } = await import('better-sqlite3');
  if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true });
  if (file !== ':memory:') makePrivateDatabaseFile(file);
  const connection = new Sqlite(file, { timeout: BOOT_BUSY_MS });
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
    withMigrationLock: async (work) => {
      connection.pragma(`busy_timeout = ${BOOT_BUSY_MS}`);
      try {
        return await work(db);
      } finally {
        connection.pragma(`busy_timeout = ${BUSY_MS}`);
      }
    },
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
      const statement =
        text === 'commit'
          ? commitOf(connection)
          : connection.prepare(text === 'begin' ? 'begin immediate' : text);
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
