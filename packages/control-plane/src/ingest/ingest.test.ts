import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { JsonlScanner } from '@batch-infer/contracts/jsonl';
import { describe, expect, it } from 'vitest';
import type { Blobs } from '../ports/blobs.js';
import { Ingest } from './ingest.js';

const line = `${JSON.stringify({ body: { model: 'm' } })}\n`;

/** A store that takes a stream in at its own pace. */
function slowBlobs(take: (chunk: Buffer) => Promise<void>): { blobs: Blobs; stored: Map<string, number> } {
  const stored = new Map<string, number>();
  const unused = async (): Promise<never> => {
    throw new Error('not used');
  };
  const blobs: Blobs = {
    put: async ({ key, body }) => {
      let bytes = 0;
      for await (const chunk of body as Readable) {
        await take(chunk as Buffer);
        bytes += (chunk as Buffer).length;
      }
      stored.set(key, bytes);
      return { bytes };
    },
    get: unused,
    head: unused,
    list: unused,
    delete: async ({ key }) => {
      stored.delete(key);
    },
    deleteMany: unused,
    check: unused,
    close: async () => undefined,
  };
  return { blobs, stored };
}

describe('Ingest', () => {
  it('hashes, checks and stores in one pass', async () => {
    const { blobs, stored } = slowBlobs(async () => undefined);
    const source = Readable.from([Buffer.from(line.slice(0, 5)), Buffer.from(line.slice(5))]);
    const received = await new Ingest(blobs).receive({ source, blobKey: 'k', scanner: new JsonlScanner() });
    expect(received).toMatchObject({ bytes: line.length, scan: { errorCount: 0, summary: { items: 1 } } });
    expect(received.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(stored.get('k')).toBe(line.length);
  });

  it('reads no faster than the store writes', async () => {
    let written = 0;
    let read = 0;
    let ahead = 0;
    const { blobs } = slowBlobs(async (chunk) => {
      await nextTurn();
      written += chunk.length;
    });
    const chunk = Buffer.from(line.repeat(2_000));
    const total = 200 * chunk.length;
    const source = Readable.from(
      (function* () {
        for (; read < total; read += chunk.length) {
          ahead = Math.max(ahead, read - written);
          yield chunk;
        }
      })(),
      { objectMode: false, highWaterMark: chunk.length },
    );
    await new Ingest(blobs).receive({ source, blobKey: 'k', scanner: new JsonlScanner() });
    expect(written).toBe(total);
    expect(ahead).toBeLessThan(8 * chunk.length);
  });

  it('refuses an endless source at the cap, and keeps nothing', async () => {
    let sent = 0;
    const { blobs, stored } = slowBlobs(async () => undefined);
    const chunk = Buffer.alloc(1_000, 'x');
    const source = Readable.from(
      (function* () {
        for (;;) {
          sent += chunk.length;
          yield chunk;
        }
      })(),
      { objectMode: false, highWaterMark: 16_000 },
    );
    const receiving = new Ingest(blobs).receive({
      source,
      blobKey: 'k',
      scanner: new JsonlScanner(),
      maxBytes: 100_000,
    });
    await expect(receiving).rejects.toMatchObject({ code: 'file_too_large' });
    expect(sent).toBeLessThan(100_000 + 64_000);
    expect(stored.size).toBe(0);
    expect(source.destroyed).toBe(false);
    source.destroy();
  });

  it('says that the source broke, and keeps nothing', async () => {
    const { blobs, stored } = slowBlobs(async () => undefined);
    const source = new Readable({ read: () => undefined });
    source.push(line);
    const receiving = new Ingest(blobs).receive({ source, blobKey: 'k', scanner: new JsonlScanner() });
    await nextTurn();
    source.destroy(new Error('cut'));
    await expect(receiving).rejects.toMatchObject({ code: 'invalid_request', cause: { message: 'cut' } });
    expect(stored.size).toBe(0);
  });

  it('reads the rest of the source when the store fails', async () => {
    const { blobs } = slowBlobs(async () => {
      throw new Error('store failed');
    });
    const source = Readable.from(Array.from({ length: 50 }, () => Buffer.from(line)));
    await expect(
      new Ingest(blobs).receive({ source, blobKey: 'k', scanner: new JsonlScanner() }),
    ).rejects.toThrow('store failed');
    expect(source.readableEnded).toBe(true);
  });
});
