import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataFolderLockedError, lockDataFolder } from './lock-data-folder.js';

describe('the lock of a data folder', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'batch-infer-lock-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is held until it is released, and makes the folder', async () => {
    const dataDir = join(folder, 'new', 'data');
    const lock = await lockDataFolder(dataDir);
    await expect(lockDataFolder(dataDir)).rejects.toThrow(DataFolderLockedError);
    lock.release();
    lock.release();
    (await lockDataFolder(dataDir)).release();
  });

  it('names the folder, the holder and the next step to whoever comes second', async () => {
    const lock = await lockDataFolder(folder);
    await expect(lockDataFolder(folder)).rejects.toThrow(
      `The process ${process.pid} uses the data folder ${folder}. Stop it (kill ${process.pid}), or choose another folder with --data.`,
    );
    lock.setUrl('http://127.0.0.1:4242');
    await expect(lockDataFolder(folder)).rejects.toThrow(
      `The process ${process.pid}, which serves http://127.0.0.1:4242, uses the data folder ${folder}. Use that server, stop it (kill ${process.pid}), or choose another folder with --data.`,
    );
    writeFileSync(join(folder, 'lock.json'), 'damaged');
    await expect(lockDataFolder(folder)).rejects.toThrow('Another process uses the data folder');
    lock.release();
  });
});
