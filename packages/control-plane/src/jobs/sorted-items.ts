import type { SegmentHeader } from '@batch-infer/contracts';
import { SEGMENT_TAB } from '@batch-infer/contracts';
import { ExternalSort } from '../plan/external-sort.js';
import { newTemporaryBlobKey } from '../plan/work-file.js';
import type { Blobs } from '../ports/blobs.js';
import type { JobRecord } from '../ports/records.js';
import type { EndedItem } from './item-reader.js';
import type { TemporaryLease } from './temporary-lease.js';

/** Memory of one reader for items that wait for their place, and as much again at most. */
const MEMORY_BYTES = 16 * 1_024 * 1_024;

/**
 * Items in whatever order, each index once, put into the order of the input in bounded memory. Yields empty batches while
 * it takes them in, so that whoever holds a claim can renew it.
 */
export async function* sortedItems(params: {
  blobs: Blobs;
  job: JobRecord;
  items: AsyncIterable<readonly EndedItem[]>;
  /** Keeps the temporary object while it is in use. */
  leaseOf: (key: string) => TemporaryLease;
  signal?: AbortSignal;
}): AsyncGenerator<EndedItem[]> {
  const { blobs, job, items, leaseOf, signal } = params;
  const key = newTemporaryBlobKey(job.projectId);
  const lease = leaseOf(key);
  const sort = new ExternalSort({ blobs, key, memoryBytes: MEMORY_BYTES });
  try {
    for await (const batch of items) {
      signal?.throwIfAborted();
      for (const item of batch) await sort.add(item.index, encode(item));
      if (sort.isSpilled) await lease.renew();
      yield [];
    }
    for await (const batch of sort.sorted()) {
      signal?.throwIfAborted();
      if (sort.isSpilled) await lease.renew();
      yield batch.map((record) => decode(record.key, record.bytes));
    }
  } finally {
    await sort.dispose();
    await lease.release();
  }
}

/** `<header JSON> TAB <body>` as in a segment; for items that were never run `TAB [<status>, <custom id>]`. */
function encode(item: EndedItem): (string | Uint8Array)[] {
  return item.ended === 'settled'
    ? [`${JSON.stringify(item.header)}\t`, item.body]
    : [`\t${JSON.stringify([item.status, item.customId])}`];
}

function decode(index: number, bytes: Buffer): EndedItem {
  const tab = bytes.indexOf(SEGMENT_TAB);
  if (tab > 0) {
    const header = JSON.parse(bytes.toString('utf8', 0, tab)) as SegmentHeader;
    return { ended: 'settled', index, header, body: bytes.subarray(tab + 1) };
  }
  const [status, customId] = JSON.parse(bytes.toString('utf8', 1)) as ['cancelled' | 'expired', string];
  return { ended: 'never_run', index, customId, status };
}
