import { closeSync, openSync } from 'node:fs';

/**
 * Makes the file of a database readable for its owner only, where there is none: SQLite would make it for everybody.
 * Its log and its index take the mode of the file. One that is there is not opened: closing it would drop the locks
 * that this process has on it.
 */
export function makePrivateDatabaseFile(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch {
    // There is one, or SQLite will say what is wrong with the place.
  }
}
