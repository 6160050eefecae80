import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Blobs } from '../ports/blobs.js';

const CHUNK_BYTES = 128 * 1024;
/** What a UTF-16 code unit takes in UTF-8 at most. */
const BYTES_PER_UNIT = 3;

const NOTHING = Buffer.alloc(0);

/** Writes an object piece by piece, at the pace of the store. It begins to exist with the first piece. */
export class BlobWriter {
  readonly key: string;
  readonly #blobs: Blobs;
  #stream: PassThrough | null = null;
  #stored: Promise<{ bytes: number }> | null = null;
  #failure: unknown = null;
  /** Filled up to `#used`, then handed over. */
  #chunk = NOTHING;
  #used = 0;

  constructor(blobs: Blobs, key: string) {
    this.#blobs = blobs;
    this.key = key;
  }

  async write(pieces: readonly (string | Uint8Array)[]): Promise<void> {
    for (const piece of pieces) {
      if (typeof piece !== 'string' && piece.length > CHUNK_BYTES) {
        for (const portion of portionsOf(piece)) await this.write([portion]);
        continue;
      }
      const mostBytes = typeof piece === 'string' ? BYTES_PER_UNIT * piece.length : piece.length;
      if (this.#used + mostBytes > this.#chunk.length) {
        await this.flush();
        this.#chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, mostBytes));
      }
      if (typeof piece === 'string') this.#used += this.#chunk.write(piece, this.#used);
      else {
        this.#chunk.set(piece, this.#used);
        this.#used += piece.length;
      }
    }
  }

  /** Hands over what was written: the memory of the pieces may be used again behind it. */
  async flush(): Promise<void> {
    if (this.#used > 0) await this.#flush();
  }

  /** Ends the object; its size, or `null` when nothing was written. */
  async finish(): Promise<{ bytes: number } | null> {
    await this.flush();
    if (this.#stream === null) return null;
    this.#stream.end();
    return await this.#stored;
  }

  /** Gives up; nothing stays. */
  async abort(): Promise<void> {
    if (this.#stream === null) return;
    this.#stream.destroy(new Error('given up'));
    await this.#stored?.catch(() => undefined);
    await this.#blobs.delete({ key: this.key });
  }

  async #flush(): Promise<void> {
    const stream = this.#open();
    const bytes = this.#chunk.subarray(0, this.#used);
    this.#chunk = NOTHING;
    this.#used = 0;
    if (this.#failure !== null) throw this.#failure;
    if (stream.write(bytes)) return;
    // A store that fails never drains.
    await Promise.race([once(stream, 'drain'), this.#stored]);
    if (this.#failure !== null) throw this.#failure;
  }

  #open(): PassThrough {
    if (this.#stream !== null) return this.#stream;
    const stream = new PassThrough({ highWaterMark: 2 * CHUNK_BYTES });
    this.#stream = stream;
    // The store reports what breaks it; a store that has failed already listens no more.
    stream.on('error', () => undefined);
    this.#stored = this.#blobs.put({ key: this.key, body: stream });
    this.#stored.catch((error: unknown) => {
      this.#failure = error;
    });
    return stream;
  }
}

/** Large pieces are copied a chunk at a time, not once more as a whole. */
function* portionsOf(piece: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < piece.length; at += CHUNK_BYTES) yield piece.subarray(at, at + CHUNK_BYTES);
}
