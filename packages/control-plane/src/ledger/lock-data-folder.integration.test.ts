import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { DataFolderLockedError, lockDataFolder } from './lock-data-folder.js';

/** What `lockDataFolder` does, in plain JavaScript, so that a second process needs no build. */
const HOLD = `
  import Sqlite from 'better-sqlite3';
  const connection = new Sqlite(process.argv[1], { timeout: 0 });
  connection.pragma('locking_mode = EXCLUSIVE');
  connection.exec('begin exclusive');
  process.stdout.write('held\\n');
  setInterval(() => {}, 1_000);
`;

it('the lock of a data folder keeps other processes out, and ends with a holder that is killed with -9', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-lock-'));
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLD, join(folder, 'lock.db')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(holder.stdout, 'data');
    await expect(lockDataFolder(folder)).rejects.toThrow(DataFolderLockedError);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    (await lockDataFolder(folder)).release();
  } finally {
    holder.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});
