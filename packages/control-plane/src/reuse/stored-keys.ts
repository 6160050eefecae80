import { LIMITS, newId } from '@batch-infer/contracts';
import type { Blobs } from '../ports/blobs.js';
import type { ReuseKeys } from '../ports/reuse.js';
import { KEY_BYTES } from './request-keys.js';

/** Keys of so many items stand in the ledger's row: looking through many small jobs asks the store nothing. */
const ROW_ITEMS = LIMITS.shardItems;

/** Makes a job's keys ready for its row: those of large jobs become an object, which exists when a row names it. */
export async function storeKeys(blobs: Blobs, projectId: string, bytes: Buffer): Promise<ReuseKeys> {
  if (bytes.length <= ROW_ITEMS * KEY_BYTES) return { bytes, blobKey: null };
  const blobKey = `${projectId}/reuse/${newId('work')}`;
  await blobs.put({ key: blobKey, body: bytes });
  return { bytes: null, blobKey };
}

/**
 * A job's keys in pieces of whole keys.
 * @throws BlobMissingError when the job was deleted meanwhile
 */
export async function* readKeys(blobs: Blobs, keys: ReuseKeys): AsyncGenerator<Buffer> {
  if (keys.blobKey === null) {
    yield Buffer.from(keys.bytes.buffer, keys.bytes.byteOffset, keys.bytes.length);
    return;
  }
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of (await blobs.get({ key: keys.blobKey })) as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = bytes.length - (bytes.length % KEY_BYTES);
    rest = bytes.subarray(whole);
    if (whole > 0) yield bytes.subarray(0, whole);
  }
}
