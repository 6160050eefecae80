import type { Result } from '../jobs/results.js';
import { isInMemory, StoredBody } from '../jobs/stored-body.js';

/** What is put together of lines before it is sent, at least. */
const CHUNK_BYTES = 256 * 1024;

/** The lines of results as bytes, in pieces that are sent one by one; large bodies flow through from where they are. */
export async function* toChunks(
  batches: AsyncIterable<readonly Result[]>,
  lineOf: (result: Result) => readonly (string | Uint8Array | StoredBody)[],
): AsyncGenerator<Buffer> {
  const chunk = new Chunk();
  for await (const batch of batches) {
    for (const result of batch) {
      const line = lineOf(result);
      if (isInMemory(line)) chunk.add(line);
      else yield* chunk.flowing(line);
      if (chunk.bytes >= CHUNK_BYTES) yield chunk.take();
    }
    // The memory of a batch may be used again behind it.
    if (chunk.bytes > 0) yield chunk.take();
  }
}

class Chunk {
  bytes = 0;
  #pieces: Uint8Array[] = [];

  add(pieces: readonly (string | Uint8Array)[]): void {
    for (const piece of pieces) {
      const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
      this.#pieces.push(bytes);
      this.bytes += bytes.length;
    }
  }

  /** Adds pieces, and yields what is not kept: large bodies, and what stands before them. */
  async *flowing(pieces: readonly (string | Uint8Array | StoredBody)[]): AsyncGenerator<Buffer> {
    for (const piece of pieces) {
      if (!(piece instanceof StoredBody)) {
        this.add([piece]);
        continue;
      }
      if (this.bytes > 0) yield this.take();
      for await (const bytes of piece.pieces())
        yield Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    }
  }

  take(): Buffer {
    const whole = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.bytes = 0;
    return whole;
  }
}
