import { newId } from '@batch-infer/contracts';
import { readBytes } from '../jobs/blob-bytes.js';
import { BlobDamagedError, BlobMissingError, type Blobs } from '../ports/blobs.js';
import { BlobWriter } from './blob-writer.js';

/** Digits behind the directory that say how long it is. */
const TAIL_BYTES = 12;

/** Where the ids of an ordinal stand. */
type Entry = readonly [ordinal: number, offset: number, bytes: number];
export type IndexedId = readonly [index: number, customId: string];

/**
 * The `custom_id`s of a job's never-run items, which stand nowhere else once the input was deleted: one JSON array an
 * ordinal, a directory of them, and the length of the directory. It holds no prompts.
 */
export class IdTableWriter {
  readonly #writer: BlobWriter;
  readonly #entries: Entry[] = [];
  #bytes = 0;

  constructor(blobs: Blobs, projectId: string) {
    this.#writer = new BlobWriter(blobs, `${projectId}/ids/${newId('work')}`);
  }

  async add(ordinal: number, ids: readonly IndexedId[]): Promise<void> {
    const text = Buffer.from(JSON.stringify(ids));
    this.#entries.push([ordinal, this.#bytes, text.length]);
    this.#bytes += text.length;
    await this.#writer.write([text]);
  }

  /** Ends the table; its key, or `null` when nothing was added. */
  async finish(): Promise<string | null> {
    if (this.#entries.length === 0) return null;
    const directory = Buffer.from(JSON.stringify(this.#entries));
    await this.#writer.write([directory, String(directory.length).padStart(TAIL_BYTES, '0')]);
    await this.#writer.finish();
    return this.#writer.key;
  }

  async abort(): Promise<void> {
    await this.#writer.abort();
  }
}

/** Opens a table; the ids of one ordinal's never-run items by index, empty when it has none. @throws BlobMissingError */
export async function openIdTable(
  blobs: Blobs,
  key: string,
): Promise<(ordinal: number) => Promise<Map<number, string>>> {
  const head = await blobs.head({ key });
  if (head === null) throw new BlobMissingError(`There is no object ${key}.`);
  const read = async <T>(offset: number, length: number): Promise<T> => {
    const bytes = await readBytes(blobs, { key, offset, length });
    try {
      return JSON.parse(bytes.toString('utf8')) as T;
    } catch {
      throw new BlobDamagedError(`The object ${key} is damaged.`);
    }
  };
  const tail = await readBytes(blobs, { key, offset: head.bytes - TAIL_BYTES, length: TAIL_BYTES });
  const length = Number(tail.toString('utf8'));
  const entries = await read<Entry[]>(head.bytes - TAIL_BYTES - length, length);
  const byOrdinal = new Map(entries.map((entry) => [entry[0], entry]));
  return async (ordinal) => {
    const entry = byOrdinal.get(ordinal);
    return new Map(entry === undefined ? [] : await read<IndexedId[]>(entry[1], entry[2]));
  };
}
