import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openFolderBlobs } from '../blobs/fs.js';
import { DomainError } from '../errors.js';
import { type Blobs, StorageFullError } from '../ports/blobs.js';
import { CommitUnknownError, StoreUnavailableError } from '../ports/outage.js';
import { dropUnlessDone, ORPHAN_AGE_MS, recordObjects } from './record-objects.js';

const KEY = 'p/files/one';
const NOW_MS = 1_800_000_000_000;

let folder: string;
let blobs: Blobs;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-record-'));
  blobs = await openFolderBlobs(folder);
  await blobs.put({ key: KEY, body: Buffer.from('bytes') });
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const isKept = async () => (await blobs.head({ key: KEY })) !== null;
const recording = (record: () => Promise<string>, more: { storedAtMs?: number; signal?: AbortSignal } = {}) =>
  recordObjects({
    blobs,
    clock: { nowMs: () => NOW_MS },
    keys: [KEY],
    storedAtMs: NOW_MS,
    record,
    keeps: (outcome) => outcome === 'created',
    ...more,
  });

describe('an object that is to get a row', () => {
  it('stays when the row was written, and goes when the ledger says that it was not', async () => {
    expect(await recording(async () => 'created')).toBe('created');
    expect(await isKept()).toBe(true);
    expect(await recording(async () => 'replayed')).toBe('replayed');
    expect(await isKept()).toBe(false);
  });

  it.each([
    ['nobody knows whether it was committed', new CommitUnknownError('cut')],
    ['nobody foresaw the error', new Error('what?')],
    ['the connection broke in some other way', Object.assign(new Error('reset'), { code: 'ECONNRESET' })],
  ])('stays when %s', async (_, error) => {
    await expect(recording(() => Promise.reject(error))).rejects.toBe(error);
    expect(await isKept()).toBe(true);
  });

  it.each([
    ['the ledger refused', new DomainError('not_found', 'gone')],
    ['the ledger could not be asked', new StoreUnavailableError('away')],
    ['the disk was full', new StorageFullError('full')],
  ])('goes when %s', async (_, error) => {
    await expect(recording(() => Promise.reject(error))).rejects.toBe(error);
    expect(await isKept()).toBe(false);
  });

  it('goes when the client is gone before anything was recorded', async () => {
    const record = vi.fn(async () => 'created');
    await expect(recording(record, { signal: AbortSignal.abort() })).rejects.toThrow();
    expect(record).not.toHaveBeenCalled();
    expect(await isKept()).toBe(false);
  });

  it('gets none when it is so old that the orphan sweep may have it', async () => {
    const record = vi.fn(async () => 'created');
    const late = recording(record, { storedAtMs: NOW_MS - ORPHAN_AGE_MS });
    await expect(late).rejects.toMatchObject({ code: 'unavailable' });
    expect(record).not.toHaveBeenCalled();
  });

  it('is dropped when the work before its row fails, whose error is told though the store is away', async () => {
    vi.spyOn(blobs, 'delete').mockRejectedValueOnce(new Error('store away'));
    const failure = new DomainError('invalid_file', 'bad line');
    await expect(dropUnlessDone(blobs, [KEY], () => Promise.reject(failure))).rejects.toBe(failure);
    await expect(dropUnlessDone(blobs, [KEY], () => Promise.reject(failure))).rejects.toBe(failure);
    expect(await isKept()).toBe(false);
  });
});
