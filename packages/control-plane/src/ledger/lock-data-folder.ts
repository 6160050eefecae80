import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateDatabaseFile } from './private-database.js';

/** Somebody else's server holds the data folder. `message` says who, and what to do. */
export class DataFolderLockedError extends Error {
  override readonly name = 'DataFolderLockedError';
}

export interface DataFolderLock {
  /** Tells others under which URL this process can be reached, once it is known. */
  setUrl(url: string): void;
  /** Gives the folder free. The operating system does the same when the process dies. */
  release(): void;
}

interface Holder {
  readonly pid: number;
  readonly url: string | null;
}

/**
 * Takes the data folder for this process's life; makes the folder when there is none.
 *
 * The lock is SQLite's own lock on an empty database, which the operating system drops with the process, `kill -9`
 * included: no stale lock is ever left. Who holds it stands in a file beside it, for the message only.
 *
 * @throws {DataFolderLockedError} when another process (or this one) holds it
 */
export async function lockDataFolder(
  dataDir: string,
  options: { url?: string | null } = {},
): Promise<DataFolderLock> {
  const { default: Sqlite } = await import('better-sqlite3');
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const holderFile = join(dataDir, 'lock.json');
  const file = join(dataDir, 'lock.db');
  makePrivateDatabaseFile(file);
  const connection = new Sqlite(file, { timeout: 0 });
  try {
    connection.pragma('locking_mode = EXCLUSIVE');
    connection.exec('begin exclusive');
  } catch (error) {
    connection.close();
    if (!isBusy(error)) throw error;
    throw new DataFolderLockedError(lockedMessage(dataDir, readHolder(holderFile)), { cause: error });
  }
  const saveHolder = (url: string | null) => {
    const holder: Holder = { pid: process.pid, url };
    writeFileSync(holderFile, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
  };
  saveHolder(options.url ?? null);
  return {
    setUrl: saveHolder,
    release: () => {
      if (!connection.open) return;
      rmSync(holderFile, { force: true });
      connection.close();
    },
  };
}

const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_BUSY');

function readHolder(file: string): Holder | null {
  try {
    const holder: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof holder !== 'object' || holder === null || !('pid' in holder)) return null;
    const url = 'url' in holder && typeof holder.url === 'string' ? holder.url : null;
    return { pid: Number(holder.pid), url };
  } catch {
    return null;
  }
}

function lockedMessage(dataDir: string, holder: Holder | null): string {
  const who = holder === null ? 'Another process' : `The process ${holder.pid}`;
  const where = holder?.url ? `, which serves ${holder.url},` : '';
  const next =
    holder === null
      ? 'Stop it, or choose another folder with --data.'
      : `${holder.url ? 'Use that server, stop it' : 'Stop it'} (kill ${holder.pid}), or choose another folder with --data.`;
  return `${who}${where} uses the data folder ${dataDir}. ${next}`;
}
