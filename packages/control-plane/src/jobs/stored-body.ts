import type { LargeBody } from '@batch-infer/contracts';
import { BlobDamagedError, type Blobs } from '../ports/blobs.js';
import { readBytes } from './blob-bytes.js';

/** Where a body stands in its segment. */
export interface BodyPlace {
  readonly key: string;
  readonly offset: number;
  readonly length: number;
}

/** The body of an answer, left in its segment until it is needed. */
export class StoredBody implements LargeBody {
  readonly place: BodyPlace;
  readonly #blobs: Blobs;

  constructor(blobs: Blobs, place: BodyPlace) {
    this.#blobs = blobs;
    this.place = place;
  }

  get length(): number {
    return this.place.length;
  }

  /** @throws BlobMissingError, BlobDamagedError */
  async *pieces(): AsyncGenerator<Uint8Array> {
    let bytes = 0;
    for await (const piece of await this.#blobs.get(this.place)) {
      bytes += (piece as Buffer).length;
      yield piece as Buffer;
    }
    this.#check(bytes);
  }

  /** @throws BlobMissingError, BlobDamagedError */
  async whole(): Promise<Uint8Array> {
    const bytes = await readBytes(this.#blobs, this.place);
    this.#check(bytes.length);
    return bytes;
  }

  #check(bytes: number): void {
    if (bytes !== this.length) throw new BlobDamagedError(`The object ${this.place.key} is damaged.`);
  }
}

export const wholeBody = async (body: Uint8Array | StoredBody): Promise<Uint8Array> =>
  body instanceof StoredBody ? await body.whole() : body;

/** Pieces of a line that are all in memory. */
export const isInMemory = (
  pieces: readonly (string | Uint8Array | StoredBody)[],
): pieces is readonly (string | Uint8Array)[] => !pieces.some((piece) => piece instanceof StoredBody);
