import type { SegmentHeader } from '@batch-infer/contracts';
import { SEGMENT_TAB } from '@batch-infer/contracts';
import { ExternalSort } from '../plan/external-sort.js';
import { newTemporaryBlobKey } from '../plan/work-file.js';
import type { Blobs } from '../ports/blobs.js';
import type { JobRecord } from '../ports/records.js';
import type { EndedItem } from './ended-item.js';
import { type BodyPlace, StoredBody } from './stored-body.js';
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
      yield batch.map((record) => decode(blobs, record.key, record.bytes));
    }
  } finally {
    await sort.dispose();
    await lease.release();
  }
}

/**
 * `<header JSON> TAB <body>` as in a segment; `TAB {"header":…,"place":…}` where the body stays in its segment; for items
 * that were never run `TAB [<status>, <custom id>]`.
 */
function encode(item: EndedItem): (string | Uint8Array)[] {
  if (item.ended === 'never_run') return [`\t${JSON.stringify([item.status, item.customId])}`];
  const { header, body } = item;
  if (body instanceof StoredBody) {
    const placed: PlacedItem = { header, place: body.place };
    return [`\t${JSON.stringify(placed)}`];
  }
  return [`${JSON.stringify(header)}\t`, body];
}

interface PlacedItem {
  readonly header: SegmentHeader;
  readonly place: BodyPlace;
}

function decode(blobs: Blobs, index: number, bytes: Buffer): EndedItem {
  const tab = bytes.indexOf(SEGMENT_TAB);
  if (tab > 0) {
    const header = JSON.parse(bytes.toString('utf8', 0, tab)) as SegmentHeader;
    return { ended: 'settled', index, header, body: bytes.subarray(tab + 1) };
  }
  const read = JSON.parse(bytes.toString('utf8', 1)) as PlacedItem | ['cancelled' | 'expired', string];
  if (!Array.isArray(read))
    return { ended: 'settled', index, header: read.header, body: new StoredBody(blobs, read.place) };
  const [status, customId] = read;
  return { ended: 'never_run', index, customId, status };
}
