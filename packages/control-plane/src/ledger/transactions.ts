import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { StorageFullError } from '../ports/blobs.js';
import { StoreUnavailableError } from '../ports/outage.js';
import type { TransactionSession } from './dialect.js';
import type { Begin } from './group-commit.js';
import { codeOf } from './postgres-errors.js';

const MAX_ATTEMPTS = 10;

/**
 * Runs `work` in a transaction; again from the start when the database ended it because of others.
 *
 * @param locksRows whether the database lets others write meanwhile
 */
export async function transact<T>(
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
      if (attempt >= MAX_ATTEMPTS || !isTransient(error)) throw toUnavailable(error);
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

/** What SQLite says when its file cannot be used now: it is held by another program, read-only, or its disk fails. */
const FILE_STATES = /^SQLITE_(?:BUSY|READONLY|IOERR|CANTOPEN)/;

function toUnavailable(error: unknown): unknown {
  if (!FILE_STATES.test(codeOf(error))) return error;
  return new StoreUnavailableError('The file of the ledger cannot be used now.', { cause: error });
}
