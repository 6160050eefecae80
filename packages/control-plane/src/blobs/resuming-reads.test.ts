import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBytes } from '../jobs/blob-bytes.js';
import { BlobMissingError, type Blobs } from '../ports/blobs.js';
import { openFolderBlobs } from './fs.js';
import { withResumingReads } from './resuming-reads.js';

const BYTES = Buffer.from(Array.from({ length: 10_000 }, (_, index) => index % 251));

let folder: string;
let inner: Blobs;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-resuming-'));
  inner = await openFolderBlobs(folder);
  await inner.put({ key: 'k', body: BYTES });
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A store whose every read breaks behind so many bytes; how many bytes it gave in all. */
function cutting(bytesARead: number) {
  const given = { bytes: 0, reads: 0 };
  const get: Blobs['get'] = async (params) => {
    const whole = await readBytes(inner, params);
    given.reads += 1;
    async function* part(): AsyncGenerator<Buffer> {
      const piece = whole.subarray(0, bytesARead);
      given.bytes += piece.length;
      if (piece.length > 0) yield piece;
      if (whole.length > bytesARead) throw Object.assign(new Error('aborted'), { code: 'ECONNRESET' });
    }
    return Readable.from(part(), { objectMode: false });
  };
  return { blobs: withResumingReads({ ...bound(inner), get }, 0), given };
}
const bound = (blobs: Blobs): Blobs => ({
  put: (params) => blobs.put(params),
  get: (params) => blobs.get(params),
  head: (params) => blobs.head(params),
  list: (params) => blobs.list(params),
  delete: (params) => blobs.delete(params),
  deleteMany: (params) => blobs.deleteMany(params),
  check: () => blobs.check(),
  close: () => blobs.close(),
});

describe('a read that is cut', () => {
  it.each([
    ['of the whole object', {}, BYTES],
    ['of a range', { offset: 100, length: 5_000 }, BYTES.subarray(100, 5_100)],
    ['from a byte on', { offset: 9_000 }, BYTES.subarray(9_000)],
  ])('goes on where it was: %s', async (_, range, expected) => {
    const { blobs, given } = cutting(700);
    expect((await readBytes(blobs, { key: 'k', ...range })).equals(expected)).toBe(true);
    // No byte was read twice.
    expect(given.bytes).toBe(expected.length);
  });

  it('fails when nothing comes any more', async () => {
    const { blobs, given } = cutting(0);
    await expect(readBytes(blobs, { key: 'k' })).rejects.toThrow('aborted');
    expect(given.reads).toBeLessThan(10);
  });

  it('lets go of the store when nobody reads it, and bears that it breaks before', async () => {
    const source = new Readable({ read: () => undefined });
    const blobs = withResumingReads({ ...bound(inner), get: async () => source });
    const read = await blobs.get({ key: 'k' });
    read.destroy();
    await expect.poll(() => source.destroyed).toBe(true);
    const broken = new Readable({ read: () => undefined });
    const gets = [broken, Readable.from([BYTES], { objectMode: false })];
    const again = withResumingReads({ ...bound(inner), get: async () => gets.shift() ?? broken }, 0);
    const whole = await again.get({ key: 'k' });
    broken.destroy(new Error('aborted'));
    const chunks: Buffer[] = [];
    for await (const chunk of whole as AsyncIterable<Buffer>) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(BYTES)).toBe(true);
  });

  it('says at once that there is no such object', async () => {
    await expect(cutting(700).blobs.get({ key: 'other' })).rejects.toBeInstanceOf(BlobMissingError);
  });
});
