import { isBlank } from '@batch-infer/contracts/jsonl';
import { indexAt } from '../plan/positions.js';
import { linesBlobKey } from '../plan/work-file.js';
import { BlobMissingError, type Blobs } from '../ports/blobs.js';
import type { JobRecord, ShardRecord } from '../ports/records.js';
import { readBytes } from './blob-bytes.js';

const LINE_FEED = 0x0a;

/**
 * The `custom_id`s of an ordinal's items by index, read from its lines: for items that were never run, whose ids stand
 * nowhere else. Parts of a bisected shard share their byte range, which begins at the first item of them all. Items whose
 * input was deleted are missing: readers show their index.
 */
export async function readCustomIds(
  blobs: Blobs,
  job: Pick<JobRecord, 'inputBlobKey' | 'workBlobKey'>,
  shards: readonly Pick<ShardRecord, 'first' | 'indexes' | 'count' | 'offset' | 'bytes' | 'skip'>[],
): Promise<Map<number, string>> {
  const ids = new Map<number, string>();
  const [range] = shards;
  if (range === undefined) return ids;
  const indexes = new Map<number, number>();
  for (const shard of shards)
    for (let at = 0; at < shard.count; at += 1) indexes.set(shard.first + at, indexAt(shard, at));
  let position = range.first - range.skip;
  let bytes: Buffer;
  try {
    bytes = await readBytes(blobs, { key: linesBlobKey(job), offset: range.offset, length: range.bytes });
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
    const index = indexes.get(position);
    position += 1;
    if (index !== undefined) ids.set(index, customIdOf(line, index));
  }
  return ids;
}

function customIdOf(line: Buffer, index: number): string {
  const parsed = JSON.parse(line.toString('utf8')) as { custom_id?: unknown };
  return typeof parsed.custom_id === 'string' ? parsed.custom_id : String(index);
}
