import type { Blobs } from '../ports/blobs.js';

const PARALLEL_DELETES = 16;

/** Deletes objects that no row names any more. What a crash leaves here, the orphan sweep finds. */
export async function deleteBlobs(blobs: Blobs, keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += PARALLEL_DELETES) {
    await Promise.all(keys.slice(at, at + PARALLEL_DELETES).map((key) => blobs.delete({ key })));
  }
}
