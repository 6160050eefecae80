import { DomainError } from '../errors.js';
import { type Blobs, StorageFullError } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import { CommitUnknownError, StoreUnavailableError } from '../ports/outage.js';
import { deleteBlobs } from './delete-blobs.js';

/** An object that no row names is left alone for this long after it was stored; the orphan sweep takes it then. */
export const ORPHAN_AGE_MS = 3_600_000;
/** An object may get its row for this long: far enough from the sweep, whatever the clocks of stores say. */
const RECORDABLE_MS = ORPHAN_AGE_MS - 10 * 60_000;

/**
 * The one rule for everything that is an object and a row: the object is stored first, the row that names it is written
 * after, and the object is dropped only when it is known that no row names it. When nobody knows (the answer to a COMMIT
 * was lost, an error that nobody foresaw) it stays: either a row has it, or the orphan sweep finds it.
 *
 * @param params.keys objects that are stored
 * @param params.storedAtMs when the first of them was, at the earliest
 * @param params.record the one transaction that names them
 * @param params.keeps false: the ledger answered, and names none of them
 * @throws what `record` throws; DomainError `unavailable` when the objects are so old that they may have been swept up
 */
export async function recordObjects<T>(params: {
  blobs: Blobs;
  clock: Clock;
  keys: readonly string[];
  storedAtMs: number;
  record: () => Promise<T>;
  keeps: (recorded: T) => boolean;
  /** Aborted before: nothing is recorded. */
  signal?: AbortSignal;
}): Promise<T> {
  const { blobs, keys, record, keeps } = params;
  await dropUnlessDone(blobs, keys, async () => {
    params.signal?.throwIfAborted();
    if (params.clock.nowMs() - params.storedAtMs > RECORDABLE_MS) throw tooOld();
  });
  let recorded: T;
  try {
    recorded = await record();
  } catch (error) {
    if (isDefiniteRefusal(error)) await dropObjects(blobs, keys);
    throw error;
  }
  if (!keeps(recorded)) await dropObjects(blobs, keys);
  return recorded;
}

/** Work during which no row can name the objects yet: they are dropped when it fails. */
export async function dropUnlessDone<T>(
  blobs: Blobs,
  keys: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await dropObjects(blobs, keys);
    throw error;
  }
}

/** Deletes objects that no row names. What cannot be deleted now is left to the orphan sweep. */
export async function dropObjects(blobs: Blobs, keys: readonly string[]): Promise<void> {
  await deleteBlobs(blobs, keys).catch(() => undefined);
}

/** Whether an error says that the transaction was not committed. */
function isDefiniteRefusal(error: unknown): boolean {
  if (error instanceof CommitUnknownError) return false;
  return (
    error instanceof DomainError ||
    error instanceof StorageFullError ||
    error instanceof StoreUnavailableError
  );
}

const tooOld = (): DomainError =>
  new DomainError(
    'unavailable',
    'Too much time passed between storing the bytes and using them. Nothing was done; send the request again.',
  );
