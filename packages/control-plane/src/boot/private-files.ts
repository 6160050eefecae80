import { chmodSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** What lies in a data folder, and nothing else: a folder that holds more is not ours alone. */
const OWN_NAMES =
  /^(?:ledger\.db|lock\.db)(?:-(?:wal|shm|journal))?$|^lock\.json$|^alive$|^blobs$|^batch-infer\.pid$/;
const OWN_FILES = /^(?:ledger\.db|lock\.db|lock\.json|alive$)/;
const OTHERS = 0o077;

/**
 * Takes the data folder and the files of its ledger away from group and others, where an earlier version or a hand
 * left them readable: prompts, webhook secrets and error messages are in them. A folder that holds other things as
 * well keeps its mode.
 *
 * @returns the paths that others can still read, because they belong to another user
 */
export function makeDataFolderPrivate(folder: string): string[] {
  const names = readdirSync(folder);
  const files = names.filter((name) => OWN_FILES.test(name)).map((name) => join(folder, name));
  const whole = names.every((name) => OWN_NAMES.test(name)) ? [folder] : [];
  return [...whole, ...files].filter((path) => !makePrivate(path));
}

function makePrivate(path: string): boolean {
  try {
    const stats = lstatSync(path);
    if (stats.isSymbolicLink() || (stats.mode & OTHERS) === 0) return true;
    chmodSync(path, stats.mode & ~OTHERS & 0o777);
    return (statSync(path).mode & OTHERS) === 0;
  } catch (error) {
    // A file of SQLite's that has gone meanwhile.
    return error instanceof Error && 'code' in error && error.code === 'ENOENT';
  }
}

/** True when every user of the machine can read it. */
export const isReadableByAll = (path: string): boolean => (statSync(path).mode & 0o004) !== 0;
