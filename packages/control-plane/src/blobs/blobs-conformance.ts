import { randomBytes, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BlobMissingError, type Blobs } from '../ports/blobs.js';

const MEBIBYTE = 1024 * 1024;

/**
 * What every blob store must do. The store may hold other objects: each test keeps to keys of its own.
 *
 *     blobsConformance('a folder', async () => ({ blobs, close }));
 */
export function blobsConformance(
  name: string,
  open: () => Promise<{ blobs: Blobs; close(): Promise<void> }>,
): void {
  describe(`blobs in ${name}`, () => {
    let blobs: Blobs;
    let close: (() => Promise<void>) | undefined;
    beforeAll(async () => {
      ({ blobs, close } = await open());
    });
    afterAll(() => close?.());

    const newKey = (suffix = '') => `conformance/${randomUUID()}${suffix}`;
    const bytesOf = (text: string) => new TextEncoder().encode(text);
    const read = async (params: Parameters<Blobs['get']>[0]) => buffer(await blobs.get(params));

    it('keeps bytes as they are, under keys with folders', async () => {
      const key = newKey('/a/b.c/d');
      const body = bytesOf('one\r\n\u0000two\ufeff');
      expect(await blobs.put({ key, body })).toEqual({ bytes: body.length });
      expect(new Uint8Array(await read({ key }))).toEqual(body);
      const head = await blobs.head({ key });
      expect(head?.bytes).toBe(body.length);
      expect(Math.abs((head?.modifiedAtMs ?? 0) - Date.now())).toBeLessThan(120_000);
    });

    it('keeps a stream of unknown length, larger than one part', async () => {
      const key = newKey();
      const chunks = Array.from({ length: 20 }, () => randomBytes(MEBIBYTE - 7));
      expect(await blobs.put({ key, body: Readable.from(chunks) })).toEqual({ bytes: 20 * (MEBIBYTE - 7) });
      expect((await read({ key })).equals(Buffer.concat(chunks))).toBe(true);
    });

    it('keeps empty objects', async () => {
      const [fromBytes, fromStream] = [newKey(), newKey()];
      expect(await blobs.put({ key: fromBytes, body: new Uint8Array() })).toEqual({ bytes: 0 });
      expect(await blobs.put({ key: fromStream, body: Readable.from([]) })).toEqual({ bytes: 0 });
      for (const key of [fromBytes, fromStream]) {
        expect((await blobs.head({ key }))?.bytes).toBe(0);
        expect((await read({ key })).length).toBe(0);
      }
    });

    it('reads ranges, cut at the end of the object', async () => {
      const key = newKey();
      await blobs.put({ key, body: bytesOf('0123456789') });
      const text = async (range: { offset?: number; length?: number }) =>
        (await read({ key, ...range })).toString();
      expect(await text({ offset: 3 })).toBe('3456789');
      expect(await text({ offset: 3, length: 4 })).toBe('3456');
      expect(await text({ length: 2 })).toBe('01');
      expect(await text({ offset: 8, length: 100 })).toBe('89');
      expect(await text({ offset: 10, length: 5 })).toBe('');
      expect(await text({ offset: 4, length: 0 })).toBe('');
    });

    it('says of a missing object that it is missing', async () => {
      const key = newKey();
      expect(await blobs.head({ key })).toBeNull();
      await expect(blobs.get({ key })).rejects.toThrow(BlobMissingError);
      await expect(blobs.get({ key, offset: 1, length: 0 })).rejects.toThrow(BlobMissingError);
      await expect(blobs.get({ key: `${key}/below` })).rejects.toThrow(BlobMissingError);
      await blobs.delete({ key });
    });

    it('deletes many at once, and takes those that are not there', async () => {
      const keys = Array.from({ length: 30 }, (_, number) => `many/${number}`);
      await Promise.all(keys.map((key) => blobs.put({ key, body: Buffer.from('x') })));
      await blobs.put({ key: 'many-others', body: Buffer.from('stays') });
      await blobs.deleteMany({ keys: [...keys, 'many/none'] });
      expect((await blobs.list({ prefix: 'many' })).map(({ key }) => key)).toEqual(['many-others']);
      await blobs.deleteMany({ keys: [] });
    });

    it('deletes, also what others are reading', async () => {
      const key = newKey();
      await blobs.put({ key, body: bytesOf('text') });
      await blobs.delete({ key });
      expect(await blobs.head({ key })).toBeNull();
      await blobs.delete({ key });
    });

    it('shows nothing of an object until it is whole', async () => {
      const key = newKey();
      const { promise: seen, resolve: sawNothing } = Promise.withResolvers<void>();
      async function* body() {
        yield randomBytes(MEBIBYTE);
        expect(await blobs.head({ key })).toBeNull();
        expect(await blobs.list({ prefix: key })).toEqual([]);
        sawNothing();
        yield randomBytes(10);
      }
      await blobs.put({ key, body: Readable.from(body()) });
      await seen;
      expect((await blobs.head({ key }))?.bytes).toBe(MEBIBYTE + 10);
    });

    it.each([1_000, 12 * MEBIBYTE])(
      "leaves nothing of a source that fails after %d bytes, and gives the source's own error",
      async (size) => {
        const key = newKey();
        const failure = new Error('the client went away');
        async function* body() {
          yield randomBytes(size);
          throw failure;
        }
        await expect(blobs.put({ key, body: Readable.from(body()) })).rejects.toBe(failure);
        expect(await blobs.head({ key })).toBeNull();
        expect(await blobs.list({ prefix: key })).toEqual([]);
      },
    );

    it('leaves nothing of a put that was aborted', async () => {
      const key = newKey();
      const controller = new AbortController();
      async function* body() {
        yield randomBytes(6 * MEBIBYTE);
        controller.abort(new Error('no longer wanted'));
        yield randomBytes(6 * MEBIBYTE);
      }
      const put = blobs.put({ key, body: Readable.from(body()), signal: controller.signal });
      await expect(put).rejects.toThrow();
      expect(await blobs.head({ key })).toBeNull();
      await expect(blobs.put({ key, body: bytesOf('x'), signal: controller.signal })).rejects.toThrow();
      expect(await blobs.head({ key })).toBeNull();
    });

    it('lists in key order, in pages, by prefix', async () => {
      const prefix = newKey('/');
      const names = ['a-b', 'a/b', 'a/c/d', 'a0', 'ab', 'b/a', 'b/b'];
      for (const name of names.toReversed()) await blobs.put({ key: prefix + name, body: bytesOf(name) });
      const inOrder = names.toSorted((left, right) => (left < right ? -1 : 1));
      const listed = await blobs.list({ prefix });
      expect(listed.map(({ key }) => key.slice(prefix.length))).toEqual(inOrder);
      expect(listed.map(({ bytes }) => bytes)).toEqual(inOrder.map((name) => name.length));
      const paged: string[] = [];
      for (;;) {
        const last = paged.at(-1);
        const page = await blobs.list({
          prefix,
          limit: 3,
          ...(last === undefined ? {} : { after: prefix + last }),
        });
        if (page.length === 0) break;
        paged.push(...page.map(({ key }) => key.slice(prefix.length)));
      }
      expect(paged).toEqual(inOrder);
      const below = async (part: string) =>
        (await blobs.list({ prefix: prefix + part })).map(({ key }) => key.slice(prefix.length));
      expect(await below('a/')).toEqual(['a/b', 'a/c/d']);
      expect(await below('b/b')).toEqual(['b/b']);
      expect(await below('c')).toEqual([]);
    });

    it.each([
      '',
      '/etc/passwd',
      '../outside',
      'a/../../outside',
      'a//b',
      'a/',
      'a/./b',
      '.tmp/x',
      'a\\b',
      'a\0b',
      'a\nb',
      'ä',
    ])('refuses the key %j', async (key) => {
      const refused = RangeError;
      await expect(blobs.put({ key, body: bytesOf('x') })).rejects.toThrow(refused);
      await expect(blobs.get({ key })).rejects.toThrow(refused);
      await expect(blobs.head({ key })).rejects.toThrow(refused);
      await expect(blobs.delete({ key })).rejects.toThrow(refused);
    });

    it('refuses keys and parts of keys that are too long', async () => {
      for (const key of ['a'.repeat(201), `${'a/'.repeat(500)}a`]) {
        await expect(blobs.put({ key, body: bytesOf('x') })).rejects.toThrow(RangeError);
      }
    });

    it('keeps all of many objects put at once', async () => {
      const prefix = newKey('/');
      const keys = Array.from({ length: 32 }, (_, number) => `${prefix}${number % 4}/${number}`);
      await Promise.all(keys.map((key) => blobs.put({ key, body: bytesOf(key) })));
      const texts = await Promise.all(keys.map(async (key) => (await read({ key })).toString()));
      expect(texts).toEqual(keys);
    });

    it('answers to a check, again and again', async () => {
      await blobs.check();
      await blobs.check();
    });
  });
}
