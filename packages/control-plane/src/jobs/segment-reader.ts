import { countBits, decodeSegment, hasBit } from '@batch-infer/contracts';
import { ByteBudget } from '../byte-budget.js';
import { positionOf } from '../plan/positions.js';
import { BlobDamagedError, BlobMissingError, type Blobs } from '../ports/blobs.js';
import type { JobRecord, SegmentRecord } from '../ports/records.js';
import { readBytes } from './blob-bytes.js';
import type { SettledItem } from './ended-item.js';
import { segmentLinesIn } from './segment-lines.js';
import { StoredBody } from './stored-body.js';

/** Segments fetched at once. */
const PARALLEL_READS = 8;
/** Segments that are read together are held whole up to this, whatever others hold: the ordinary case. */
const ALWAYS_WHOLE_BYTES = 1024 * 1024;
/** Beyond this only their headers are held. */
const WHOLE_BYTES = 16 * 1024 * 1024;
/** What all readers of this process hold of segments that are larger than the ordinary ones. */
const BUDGET_BYTES = 48 * 1024 * 1024;

/** Items of some segments. */
export interface ReadSegments {
  readonly items: SettledItem[];
  /** To be called when they are not needed any more. */
  readonly release: () => void;
}

const NO_BODY = new Uint8Array(0);
const NOTHING_HELD = (): void => undefined;

/**
 * Reads the lines of segments. Small segments are read whole; of those for which there is no room in memory only the
 * headers are kept, and each body is read when it is needed. So nobody waits for another reader, however slow that one is.
 */
export class SegmentReader {
  readonly #blobs: Blobs;
  readonly #budget: ByteBudget;

  constructor(blobs: Blobs, budget = new ByteBudget({ bytes: BUDGET_BYTES })) {
    this.#blobs = blobs;
    this.#budget = budget;
  }

  /**
   * The items that segments decided, with the line each stands on; lines of other items are left out. Of a job that was
   * given up because of such segments, one that cannot be read is empty: the job's row says so.
   * @throws BlobMissingError, BlobDamagedError
   */
  async read(segments: readonly SegmentRecord[], job?: JobRecord): Promise<ReadSegments> {
    const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
    const release = this.#roomFor(bytes);
    const items: SettledItem[] = [];
    const readOne = (segment: SegmentRecord) =>
      release === null ? this.#headersOf(segment) : this.#wholeOf(segment);
    try {
      for (let at = 0; at < segments.length; at += PARALLEL_READS) {
        const group = segments.slice(at, at + PARALLEL_READS);
        const reads = group.map((segment) => orNothing(readOne(segment), job));
        for (const read of await Promise.all(reads)) for (const item of read) items.push(item);
      }
    } catch (error) {
      release?.();
      throw error;
    }
    return { items, release: release ?? NOTHING_HELD };
  }

  #roomFor(bytes: number): (() => void) | null {
    if (bytes <= ALWAYS_WHOLE_BYTES) return NOTHING_HELD;
    return bytes <= WHOLE_BYTES ? this.#budget.takeNow(bytes) : null;
  }

  async #wholeOf(segment: SegmentRecord): Promise<SettledItem[]> {
    // With its length it comes in one buffer of that size.
    const bytes = await readBytes(this.#blobs, { key: segment.blobKey, offset: 0, length: segment.bytes });
    if (bytes.length !== segment.bytes) throw damaged(segment);
    return decidedItems(segment, decodeSegment(bytes));
  }

  async #headersOf(segment: SegmentRecord): Promise<SettledItem[]> {
    const key = segment.blobKey;
    const lines: Pick<SettledItem, 'header' | 'body'>[] = [];
    const stream = await this.#blobs.get({ key, offset: 0, length: segment.bytes });
    try {
      for await (const { header, offset, length } of segmentLinesIn(stream, segment.bytes))
        lines.push({
          header,
          body: length === 0 ? NO_BODY : new StoredBody(this.#blobs, { key, offset, length }),
        });
    } catch (error) {
      throw error instanceof SyntaxError ? damaged(segment, error) : error;
    }
    return decidedItems(segment, lines);
  }
}

async function orNothing(items: Promise<SettledItem[]>, job: JobRecord | undefined): Promise<SettledItem[]> {
  try {
    return await items;
  } catch (error) {
    const isLost = error instanceof BlobMissingError || error instanceof BlobDamagedError;
    if (isLost && job !== undefined && wasGivenUp(job)) return [];
    throw error;
  }
}

const wasGivenUp = ({ finishedAtMs, inputErrors }: JobRecord): boolean =>
  finishedAtMs !== null && inputErrors.some(({ code }) => code === 'finalize_failed');

/** @throws BlobDamagedError */
function decidedItems(
  segment: SegmentRecord,
  lines: Iterable<Pick<SettledItem, 'header' | 'body'>>,
): SettledItem[] {
  const items: SettledItem[] = [];
  const seen = new Set<number>();
  let line = -1;
  try {
    for (const { header, body } of lines) {
      line += 1;
      const position = positionOf(segment, header.i);
      if (position < 0 || position > 255 || !hasBit(segment.decided, position) || seen.has(position))
        continue;
      seen.add(position);
      items.push({ ended: 'settled', index: header.i, header, body, line });
    }
  } catch (error) {
    throw damaged(segment, error);
  }
  // An answer that is not there must not look like an item that never was.
  if (seen.size !== countBits(segment.decided)) throw damaged(segment);
  return items;
}

const damaged = ({ blobKey }: SegmentRecord, cause?: unknown): BlobDamagedError =>
  new BlobDamagedError(`The object ${blobKey} is damaged.`, { cause });
