import type { Blobs } from '../ports/blobs.js';

/** Deletes objects that no row names any more. What a crash leaves here, the orphan sweep finds. */
export async function deleteBlobs(blobs: Blobs, keys: readonly string[]): Promise<void> {
  if (keys.length > 0) await blobs.deleteMany({ keys });
}
