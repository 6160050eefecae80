import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  type BlobHead,
  BlobMissingError,
  type Blobs,
  type ListedBlob,
  StorageFullError,
} from '../ports/blobs.js';
import { assertKey, compareKeys } from './keys.js';

/** Beside the objects, so that the rename stays inside one file system. A key never begins with a dot. */
const TEMPORARY_FOLDER = '.tmp';
const LIST_LIMIT = 1_000;
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const READ_BYTES = 256 * 1024;
/** A range is mostly a shard: it is read at once. */
const RANGE_READ_BYTES = 1024 * 1024;

/**
 * Blobs in a folder: an object is written to a temporary file, flushed to the disk, and then renamed to its key, so
 * that it is whole whenever it is there. What a dead process left half-written is removed here: only one process may
 * use the folder (`lockDataFolder`).
 */
export async function openFolderBlobs(root: string): Promise<Blobs> {
  const temporaryFolder = join(root, TEMPORARY_FOLDER);
  await rm(temporaryFolder, { recursive: true, force: true });
  await mkdir(temporaryFolder, { recursive: true, mode: FOLDER_MODE });
  return new FolderBlobs(root, temporaryFolder);
}

const PARALLEL_DELETES = 16;

class FolderBlobs implements Blobs {
  readonly #root: string;
  readonly #temporaryFolder: string;

  constructor(root: string, temporaryFolder: string) {
    this.#root = root;
    this.#temporaryFolder = temporaryFolder;
  }

  async put({ key, body, signal }: Parameters<Blobs['put']>[0]): Promise<{ bytes: number }> {
    const file = this.#fileOf(key);
    const temporary = join(this.#temporaryFolder, randomUUID());
    try {
      const bytes = await this.#write(temporary, body, signal);
      await this.#place(temporary, file);
      return { bytes };
    } catch (error) {
      await rm(temporary, { force: true });
      throw toStorageError(error);
    }
  }

  /** Most objects come into a folder that is there. */
  async #place(temporary: string, file: string): Promise<void> {
    const folder = dirname(file);
    let made: string | undefined;
    try {
      await rename(temporary, file);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      made = await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
      await rename(temporary, file);
    }
    await flushFolder(folder);
    // A new folder is durable when the one that holds it is.
    if (made !== undefined) await this.#flushUpTo(dirname(made), folder);
  }

  async #write(temporary: string, body: Readable | Uint8Array, signal?: AbortSignal): Promise<number> {
    signal?.throwIfAborted();
    if (body instanceof Uint8Array) {
      const handle = await open(temporary, 'wx', FILE_MODE);
      try {
        await handle.writeFile(body, signal === undefined ? {} : { signal });
        await handle.sync();
      } finally {
        await handle.close();
      }
      return body.byteLength;
    }
    const target = createWriteStream(temporary, {
      flags: 'wx',
      mode: FILE_MODE,
      flush: true,
      highWaterMark: 1024 * 1024,
    });
    await pipeline(body, target, signal === undefined ? {} : { signal });
    return target.bytesWritten;
  }

  async #flushUpTo(last: string, from: string): Promise<void> {
    for (let folder = dirname(from); folder.length >= last.length; folder = dirname(folder)) {
      await flushFolder(folder);
      if (folder === dirname(folder)) return;
    }
  }

  async get({ key, offset = 0, length, signal }: Parameters<Blobs['get']>[0]): Promise<Readable> {
    const handle = await open(this.#fileOf(key)).catch((error: unknown) => {
      throw toMissingError(error, key);
    });
    if (length !== undefined && length <= 0) {
      await handle.close();
      return Readable.from([]);
    }
    return createReadStream('', {
      fd: handle,
      start: offset,
      ...(length === undefined ? {} : { end: offset + length - 1 }),
      ...(signal === undefined ? {} : { signal }),
      highWaterMark: length === undefined ? READ_BYTES : Math.min(length, RANGE_READ_BYTES),
    });
  }

  async head({ key }: { key: string }): Promise<BlobHead | null> {
    try {
      const found = await stat(this.#fileOf(key));
      return found.isFile() ? { bytes: found.size, modifiedAtMs: Math.floor(found.mtimeMs) } : null;
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async list({ prefix, after, limit = LIST_LIMIT }: Parameters<Blobs['list']>[0]): Promise<ListedBlob[]> {
    const found: ListedBlob[] = [];
    for await (const key of this.#walk('', { prefix, after: after ?? '' })) {
      const head = await this.head({ key });
      if (head !== null) found.push({ key, ...head });
      if (found.length >= limit) break;
    }
    return found;
  }

  /** Keys in order. `name/` sorts where its keys do: after `name-x`, before `name0`. */
  async *#walk(folder: string, bounds: { prefix: string; after: string }): AsyncGenerator<string> {
    const entries = await readdir(join(this.#root, folder), { withFileTypes: true }).catch(
      (error: unknown) => {
        if (isMissing(error)) return [];
        throw error;
      },
    );
    const names = entries
      .filter((entry) => !entry.name.startsWith('.'))
      .map((entry) => (entry.isDirectory() ? `${folder}${entry.name}/` : `${folder}${entry.name}`))
      .sort(compareKeys);
    const { prefix, after } = bounds;
    for (const name of names) {
      if (name.endsWith('/')) {
        const mayMatch = name.startsWith(prefix) || prefix.startsWith(name);
        const isBehind = name > after || after.startsWith(name);
        if (mayMatch && isBehind) yield* this.#walk(name, bounds);
      } else if (name.startsWith(prefix) && name > after) yield name;
    }
  }

  async delete({ key }: { key: string }): Promise<void> {
    await rm(this.#fileOf(key), { force: true });
  }

  async deleteMany({ keys }: { keys: readonly string[] }): Promise<void> {
    for (let at = 0; at < keys.length; at += PARALLEL_DELETES) {
      await Promise.all(keys.slice(at, at + PARALLEL_DELETES).map((key) => this.delete({ key })));
    }
  }

  async check(): Promise<void> {
    const file = join(this.#temporaryFolder, randomUUID());
    try {
      await this.#write(file, new TextEncoder().encode('ok'));
    } catch (error) {
      throw toStorageError(error);
    } finally {
      await rm(file, { force: true });
    }
  }

  async close(): Promise<void> {}

  #fileOf(key: string): string {
    assertKey(key);
    return join(this.#root, key);
  }
}

async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined;

function isMissing(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function toMissingError(error: unknown, key: string): unknown {
  return isMissing(error) ? new BlobMissingError(`There is no object ${key}.`, { cause: error }) : error;
}

function toStorageError(error: unknown): unknown {
  const code = codeOf(error);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new StorageFullError('The disk of the data folder is full. Free some space and try again.', {
    cause: error,
  });
}
