import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { BlobMissingError, type Blobs } from '../ports/blobs.js';

/** Cuts in a row without a byte between them, after which a read fails. */
const CUTS_IN_A_ROW = 5;
const FIRST_DELAY_MS = 50;

/**
 * Reads that go on where they were cut: an object never changes, so the rest of it is asked for from the byte behind the
 * last one that came. What is read takes as long as it takes, however often a connection of it is lost; a store that gives
 * nothing any more fails.
 */
export function withResumingReads(blobs: Blobs, firstDelayMs = FIRST_DELAY_MS): Blobs {
  return {
    put: (params) => blobs.put(params),
    get: async (params) => {
      // What can be said before the first byte is said by `get` itself.
      const first = await blobs.get(params);
      // It may break, or not be wanted any more, before anybody reads.
      first.on('error', () => undefined);
      const whole = Readable.from(resumed(blobs, params, { first, firstDelayMs }), { objectMode: false });
      whole.once('close', () => first.destroy());
      return whole;
    },
    head: (params) => blobs.head(params),
    list: (params) => blobs.list(params),
    delete: (params) => blobs.delete(params),
    deleteMany: (params) => blobs.deleteMany(params),
    check: () => blobs.check(),
    close: () => blobs.close(),
  };
}

async function* resumed(
  blobs: Blobs,
  { key, offset = 0, length, signal }: Parameters<Blobs['get']>[0],
  { first, firstDelayMs }: { first: Readable; firstDelayMs: number },
): AsyncGenerator<Buffer> {
  let received = 0;
  let cuts = 0;
  let source: Readable | null = first;
  for (;;) {
    try {
      source ??= await blobs.get({
        key,
        offset: offset + received,
        ...(length === undefined ? {} : { length: length - received }),
        ...(signal === undefined ? {} : { signal }),
      });
      for await (const chunk of source as AsyncIterable<Buffer>) {
        received += chunk.length;
        cuts = 0;
        yield chunk;
      }
      return;
    } catch (error) {
      cuts += 1;
      if (signal?.aborted === true || error instanceof BlobMissingError || cuts >= CUTS_IN_A_ROW) throw error;
      // Cut behind the last byte: there is nothing left to ask for.
      if (length !== undefined && received >= length) return;
      source = null;
    }
    await delay(firstDelayMs * 2 ** (cuts - 1));
  }
}
