import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StorageFullError } from '../ports/blobs.js';
import { blobsConformance } from './blobs-conformance.js';
import { openFolderBlobs } from './fs.js';

blobsConformance('a folder', async () => {
  const root = mkdtempSync(join(tmpdir(), 'batch-infer-blobs-'));
  return {
    blobs: await openFolderBlobs(root),
    close: async () => rmSync(root, { recursive: true, force: true }),
  };
});

describe('a folder of blobs', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'batch-infer-blobs-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('removes what a dead process left half-written', async () => {
    mkdirSync(join(root, '.tmp'));
    writeFileSync(join(root, '.tmp', 'half'), 'half an obj');
    const blobs = await openFolderBlobs(root);
    expect(readdirSync(join(root, '.tmp'))).toEqual([]);
    expect(await blobs.list({ prefix: '' })).toEqual([]);
  });

  it('leaves no temporary file behind a put, whether it succeeds or fails', async () => {
    const blobs = await openFolderBlobs(root);
    await blobs.put({ key: 'a/b', body: Readable.from([new Uint8Array(10)]) });
    const failing = new Readable({ read: (): void => void failing.destroy(new Error('gone')) });
    await expect(blobs.put({ key: 'a/c', body: failing })).rejects.toThrow('gone');
    await blobs.check();
    expect(readdirSync(join(root, '.tmp'))).toEqual([]);
    expect(readdirSync(join(root, 'a'))).toEqual(['b']);
  });

  it('lets nobody else on the machine read', async () => {
    const blobs = await openFolderBlobs(root);
    await blobs.put({ key: 'a/b', body: new Uint8Array(1) });
    expect(statSync(join(root, 'a', 'b')).mode & 0o077).toBe(0);
    expect(statSync(join(root, 'a')).mode & 0o077).toBe(0);
  });

  it('says of a full disk that the storage is full', async () => {
    const blobs = await openFolderBlobs(root);
    const body = new Readable({
      read: (): void => void body.destroy(Object.assign(new Error('write'), { code: 'ENOSPC' })),
    });
    await expect(blobs.put({ key: 'a', body })).rejects.toThrow(StorageFullError);
  });
});
