import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Blobs } from '../ports/blobs.js';

const FLUSH_BYTES = 64 * 1024;

/** Writes an object piece by piece, at the pace of the store. It begins to exist with the first piece. */
export class BlobWriter {
  readonly key: string;
  readonly #blobs: Blobs;
  #stream: PassThrough | null = null;
  #stored: Promise<{ bytes: number }> | null = null;
  #failure: unknown = null;
  #pieces: Uint8Array[] = [];
  #pendingBytes = 0;

  constructor(blobs: Blobs, key: string) {
    this.#blobs = blobs;
    this.key = key;
  }

  async write(pieces: readonly (string | Uint8Array)[]): Promise<void> {
    for (const piece of pieces) {
      const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
      this.#pieces.push(bytes);
      this.#pendingBytes += bytes.length;
    }
    if (this.#pendingBytes >= FLUSH_BYTES) await this.flush();
  }

  /** Hands over what was written: the memory of the pieces may be used again behind it. */
  async flush(): Promise<void> {
    if (this.#pendingBytes > 0) await this.#flush();
  }

  /** Ends the object; its size, or `null` when nothing was written. */
  async finish(): Promise<{ bytes: number } | null> {
    if (this.#stream === null && this.#pendingBytes === 0) return null;
    await this.#flush();
    this.#stream?.end();
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
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#pendingBytes = 0;
    if (this.#failure !== null) throw this.#failure;
    if (stream.write(bytes)) return;
    // A store that fails never drains.
    await Promise.race([once(stream, 'drain'), this.#stored]);
    if (this.#failure !== null) throw this.#failure;
  }

  #open(): PassThrough {
    if (this.#stream !== null) return this.#stream;
    const stream = new PassThrough({ highWaterMark: 4 * FLUSH_BYTES });
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
