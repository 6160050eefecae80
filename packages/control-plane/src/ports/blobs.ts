import type { Readable } from 'node:stream';

/**
 * Where bytes live. Objects are immutable and uniquely named; the ledger decides which of them exist.
 *
 * A key is a relative path of letters, digits and `._-+=@~`, at most 900 characters; no part of it begins with a dot,
 * and no key is the folder of another. Other keys are refused with a `RangeError`.
 */
export interface Blobs {
  /**
   * Stores a stream under a new key; nothing is visible until it returns, and it is durable when it returns.
   * @throws StorageFullError when the store has no room; the source's own error when the source fails. Nothing stays.
   */
  put(params: { key: string; body: Readable | Uint8Array; signal?: AbortSignal }): Promise<{ bytes: number }>;
  /**
   * A stream of `length` bytes from `offset` (both optional: the whole object).
   * @throws BlobMissingError
   */
  get(params: { key: string; offset?: number; length?: number; signal?: AbortSignal }): Promise<Readable>;
  /** The object's size, or `null` when there is none. */
  head(params: { key: string }): Promise<BlobHead | null>;
  /** Pages over keys that start with `prefix`, in key order. */
  list(params: { prefix: string; after?: string; limit?: number }): Promise<ListedBlob[]>;
  /** Deletes an object; deleting what is not there is no error. */
  delete(params: { key: string }): Promise<void>;
  /** Deletes many objects with few requests; those that are not there are no error. */
  deleteMany(params: { keys: readonly string[] }): Promise<void>;
  /** Answers when the store can be read and written. */
  check(): Promise<void>;
  close(): Promise<void>;
}

export interface BlobHead {
  readonly bytes: number;
  readonly modifiedAtMs: number;
}

export interface ListedBlob extends BlobHead {
  readonly key: string;
}

export class BlobMissingError extends Error {
  override readonly name = 'BlobMissingError';
}

/** An object is not what was stored. */
export class BlobDamagedError extends Error {
  override readonly name = 'BlobDamagedError';
}

export class StorageFullError extends Error {
  override readonly name = 'StorageFullError';
}
