import { isBlank } from '@batch-infer/contracts/jsonl';
import { BlobMissingError, type Blobs } from '../ports/blobs.js';
import type { ShardRecord } from '../ports/records.js';
import { readBytes } from './blob-bytes.js';

const LINE_FEED = 0x0a;

/**
 * The `custom_id`s of an ordinal's items, read from the input: for items that were never run, whose ids stand nowhere
 * else. Parts of a bisected shard share their byte range, which begins at the first item of them all. Items whose input
 * was deleted are missing: readers show their index.
 */
export async function readCustomIds(
  blobs: Blobs,
  inputBlobKey: string,
  shards: readonly ShardRecord[],
): Promise<Map<number, string>> {
  const ids = new Map<number, string>();
  const [range] = shards;
  if (range === undefined) return ids;
  let index = Math.min(...shards.map(({ first }) => first));
  let bytes: Buffer;
  try {
    bytes = await readBytes(blobs, { key: inputBlobKey, offset: range.offset, length: range.bytes });
  } catch (error) {
    if (error instanceof BlobMissingError) return ids;
    throw error;
  }
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(LINE_FEED, start);
    const end = found === -1 ? bytes.length : found;
    const line = bytes.subarray(start, end);
    start = end + 1;
    if (isBlank(line)) continue;
    ids.set(index, customIdOf(line, index));
    index += 1;
  }
  return ids;
}

function customIdOf(line: Buffer, index: number): string {
  const parsed = JSON.parse(line.toString('utf8')) as { custom_id?: unknown };
  return typeof parsed.custom_id === 'string' ? parsed.custom_id : String(index);
}
