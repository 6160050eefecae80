import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  emptyMask,
  encodeSegmentLine,
  itemError,
  openAiLine,
  type SegmentHeader,
  setBit,
} from '@batch-infer/contracts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openBlobs } from '../blobs/open-blobs.js';
import { ByteBudget } from '../byte-budget.js';
import { parseControlPlaneConfig } from '../config.js';
import { toResultLines } from '../http/native/result-lines.js';
import { BlobDamagedError, type Blobs } from '../ports/blobs.js';
import type { SegmentRecord } from '../ports/records.js';
import { type EndedItem, inBatches, type SettledItem } from './ended-item.js';
import { SegmentReader } from './segment-reader.js';
import { wholeBody } from './stored-body.js';

const MIB = 1024 * 1024;

let folder: string;
let blobs: Blobs;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'batch-infer-segments-'));
  blobs = await openBlobs(parseControlPlaneConfig({ BATCH_INFER_DATA: folder }));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await blobs.close();
  rmSync(folder, { recursive: true, force: true });
});

const bodyOf = (index: number, bytes: number): Buffer =>
  Buffer.from(`"${`${index}-`.padEnd(bytes - 2, 'x')}"`);

/** A segment of items from 0 on, the last one first, each with a body of so many bytes. Every fifth item failed. */
async function store(sizes: readonly number[], cutBytes = 0): Promise<SegmentRecord> {
  const decided = emptyMask();
  const lines = sizes.map((bytes, index) => {
    setBit(decided, index);
    const ok = index % 5 !== 4;
    const common = { i: index, c: `id-${index}`, st: ok ? 200 : 422, a: 1, ms: 1, r: `req_${index}` };
    const header: SegmentHeader = ok
      ? { ...common, ok }
      : { ...common, ok, e: itemError('invalid_request', 'no') };
    return encodeSegmentLine(header, bytes === 0 ? new Uint8Array(0) : bodyOf(index, bytes));
  });
  const whole = Buffer.concat(lines.toReversed());
  const body = whole.subarray(0, whole.length - cutBytes);
  const blobKey = `default/segments/job_1/seg_${sizes.length}_${body.length}`;
  await blobs.put({ key: blobKey, body });
  const common = { jobId: 'job_1', sequence: 1, shardId: 'shard_1', ordinal: 0, first: 0, settledAtMs: 0 };
  return { ...common, blobKey, bytes: body.length, decided };
}

const noRoom = () => new SegmentReader(blobs, new ByteBudget({ bytes: 0 }));
const textOf = async (items: readonly SettledItem[]): Promise<string> => {
  const batches = async function* () {
    for await (const batch of inBatches(items)) yield batch.map((item) => ({ item, cursor: null }));
  };
  const chunks: Buffer[] = [];
  for await (const chunk of toResultLines(batches())) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};
const inMemory = (items: readonly EndedItem[]): number =>
  items.reduce(
    (sum, item) => sum + (item.ended === 'settled' && item.body instanceof Uint8Array ? item.body.length : 0),
    0,
  );

describe('segments in bounded memory', () => {
  it('small segments are read whole, each with one read, whatever others hold', async () => {
    const segments = await Promise.all([store([10, 0, 20]), store([1_000, 2_000, 3_000, 4_000, 5_000])]);
    const get = vi.spyOn(blobs, 'get');
    const { items } = await noRoom().read(segments);
    for await (const batch of inBatches(items)) expect(batch).toHaveLength(8);
    expect(get).toHaveBeenCalledTimes(2);
    expect(inMemory(items)).toBe(15_030);
  });

  it('larger segments are read whole while there is room, and give it back', async () => {
    const segment = await store([2 * MIB, MIB]);
    const budget = new ByteBudget({ bytes: 4 * MIB });
    const reader = new SegmentReader(blobs, budget);
    const first = await reader.read([segment]);
    expect(budget.held).toBe(segment.bytes);
    const second = await reader.read([segment]);
    expect([inMemory(first.items), inMemory(second.items)]).toEqual([3 * MIB, 0]);
    first.release();
    second.release();
    expect(budget.held).toBe(0);
  });

  it('without room only headers are held, and the lines come out the same', async () => {
    const sizes = Array.from({ length: 40 }, (_, index) => (index % 7 === 0 ? 600_000 : index * 4_000));
    const segment = await store([...sizes, 0, 3 * MIB]);
    const whole = await new SegmentReader(blobs).read([segment]);
    const { items } = await noRoom().read([segment]);
    expect(inMemory(items)).toBe(0);
    let most = 0;
    for await (const batch of inBatches(items)) most = Math.max(most, inMemory(batch));
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(MIB);
    expect(await textOf(items)).toBe(await textOf(whole.items));
  });

  it('large bodies are what they were, in a line of a file as well', async () => {
    const segment = await store([5 * MIB, 17 * MIB]);
    const { items } = await new SegmentReader(blobs).read([segment]);
    for (const item of items) {
      const { pieces } = openAiLine('job_1', item);
      const [, body] = pieces;
      expect(body).toBe(item.body);
      const size = item.index === 0 ? 5 * MIB : 17 * MIB;
      expect(Buffer.compare(await wholeBody(item.body), bodyOf(item.index, size))).toBe(0);
    }
  });

  it.each([
    ['in a body', 1_000],
    ['in a header', 2 * MIB + 20],
  ])('a segment that is cut %s is never taken for a whole one', async (_, cutBytes) => {
    const segment = await store([2 * MIB, MIB], cutBytes);
    const longer = { ...segment, bytes: segment.bytes + cutBytes };
    for (const reader of [new SegmentReader(blobs), noRoom()])
      await expect(reader.read([longer])).rejects.toThrow(BlobDamagedError);
  });
});
