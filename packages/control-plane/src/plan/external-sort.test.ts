import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openFolderBlobs } from '../blobs/fs.js';
import type { Blobs } from '../ports/blobs.js';
import { ExternalSort } from './external-sort.js';

let folder: string;
let blobs: Blobs;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-sort-'));
  blobs = await openFolderBlobs(folder);
});
afterEach(async () => {
  await blobs.close();
  await rm(folder, { recursive: true, force: true });
});

const KEY = 'project/temporary/one';
const keys = async () => (await blobs.list({ prefix: '' })).map(({ key }) => key);

async function sort(records: readonly (readonly [number, string])[], memoryBytes: number): Promise<string[]> {
  const external = new ExternalSort({ blobs, key: KEY, memoryBytes });
  const sorted: string[] = [];
  try {
    for (const [key, text] of records) {
      const half = text.length >> 1;
      await external.add(key, [text.slice(0, half), Buffer.from(text.slice(half))]);
    }
    for await (const batch of external.sorted())
      sorted.push(...batch.map(({ key, bytes }) => `${key}:${bytes.toString()}`));
  } finally {
    await external.dispose();
  }
  return sorted;
}

describe('the external sort', () => {
  const shuffledKeys = Array.from({ length: 4_999 }, (_, index) => (index * 2_345) % 4_999);
  const record = (key: number): [number, string] => [key, `é${'x'.repeat((key * 13) % 700)}${key}`];

  it.each([1_000, 20_000, 300_000, 100_000_000])(
    'sorts whatever fits into %i bytes, and leaves nothing',
    async (memoryBytes) => {
      const sorted = await sort(shuffledKeys.map(record), memoryBytes);
      expect(sorted).toEqual(
        shuffledKeys.toSorted((left, right) => left - right).map((key) => record(key).join(':')),
      );
      expect(await keys()).toEqual([]);
    },
  );

  it('takes records that are larger than its memory and its blocks, empty ones, and equal keys in their order', async () => {
    const long = 'z'.repeat(200_000);
    const records: [number, string][] = [
      [7, long],
      [2 ** 32 - 1, 'last'],
      [0, ''],
      [7, 'second'],
      [1, long],
      [7, 'third'],
    ];
    expect(await sort(records, 100)).toEqual([
      '0:',
      `1:${long}`,
      `7:${long}`,
      '7:second',
      '7:third',
      '4294967295:last',
    ]);
    expect(await sort([], 100)).toEqual([]);
  });

  it('asks the store few times, however many records there are', async () => {
    const get = vi.spyOn(blobs, 'get');
    await sort(shuffledKeys.map(record), 300_000);
    // 1.8 MB in 6 runs, read in blocks of 64 KiB.
    expect(get.mock.calls.length).toBeLessThan(60);
  });

  it('leaves nothing when it is given up midway', async () => {
    const external = new ExternalSort({ blobs, key: KEY, memoryBytes: 10_000 });
    for (const key of shuffledKeys.slice(0, 500)) await external.add(key, ['x'.repeat(1_000)]);
    for await (const _ of external.sorted()) break;
    expect(await keys()).toEqual([KEY]);
    await external.dispose();
    expect(await keys()).toEqual([]);
  });
});
