import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Blobs } from '../ports/blobs.js';
import { ItemKeys, KeyTable } from './key-table.js';
import { KEY_BYTES } from './request-keys.js';
import { readKeys } from './stored-keys.js';

const keyOf = (name: string): Buffer => createHash('sha256').update(name).digest().subarray(0, KEY_BYTES);

function keysOf(names: readonly (string | null)[]): ItemKeys {
  const keys = new ItemKeys(names.length);
  names.forEach((name, index) => {
    if (name !== null) keys.set(index, keyOf(name));
  });
  return keys;
}

describe('a table of keys', () => {
  it('finds every item by its key, those with the same one together, and no other', async () => {
    const names = Array.from({ length: 5_000 }, (_, index) =>
      index % 7 === 0 ? null : `k-${index % 1_300}`,
    );
    const keys = keysOf(names);
    const table = await KeyTable.of(keys);
    const expected = Map.groupBy(names.keys(), (index) => names[index] ?? null);
    expect(keys.count).toBe(names.filter((name) => name !== null).length);
    for (const [name, items] of expected) {
      if (name === null) continue;
      const item = table.find(keyOf(name), 0);
      expect([...table.alike(item)].sort((left, right) => left - right)).toEqual(items);
    }
    for (let index = 0; index < 1_000; index += 1) expect(table.find(keyOf(`other-${index}`), 0)).toBe(-1);
  });

  it('tells keys apart that begin alike', async () => {
    const [one, two] = [keyOf('x'), keyOf('x')];
    two[KEY_BYTES - 1] = (two[KEY_BYTES - 1] ?? 0) ^ 1;
    const keys = new ItemKeys(1);
    keys.set(0, one);
    const table = await KeyTable.of(keys);
    expect([table.find(one, 0), table.find(two, 0)]).toEqual([0, -1]);
  });

  it('holds nothing when no item has a key', async () => {
    const table = await KeyTable.of(keysOf([null, null]));
    expect(table.find(keyOf('x'), 0)).toBe(-1);
  });
});

it('stored keys are read in whole ones, however the store cuts them', async () => {
  const { bytes } = keysOf(['a', null, 'b', 'c']);
  const cuts = [0, 5, 16, 17, 47, 64];
  const pieces = cuts.slice(1).map((to, at) => bytes.subarray(cuts[at], to));
  const blobs = { get: async () => Readable.from(pieces) } as Partial<Blobs> as Blobs;
  const read: Buffer[] = [];
  for await (const piece of readKeys(blobs, { bytes: null, blobKey: 'p/reuse/x' })) read.push(piece);
  expect(read.every((piece) => piece.length % KEY_BYTES === 0)).toBe(true);
  expect(Buffer.concat(read)).toEqual(bytes);
});
