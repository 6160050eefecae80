import {
  countBits,
  decodeSegment,
  hasBit,
  type ItemStatus,
  type SegmentHeader,
  type SegmentLine,
} from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { openIdTable } from '../finalize/id-table.js';
import { openIndices, positionOf } from '../plan/positions.js';
import { BlobDamagedError, BlobMissingError, type Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord, SegmentRecord, ShardRecord } from '../ports/records.js';
import { BLOBS, CLOCK, LEDGER } from '../tokens.js';
import { readBytes } from './blob-bytes.js';
import { readCustomIds } from './input-ids.js';
import { sortedItems } from './sorted-items.js';
import { TemporaryLease } from './temporary-lease.js';

/** How an item ended: by a line of a segment, or never run. */
export type EndedItem =
  | {
      readonly ended: 'settled';
      readonly index: number;
      readonly header: SegmentHeader;
      readonly body: Uint8Array;
    }
  | {
      readonly ended: 'never_run';
      readonly index: number;
      /** Empty when nobody knows it any more: the input was deleted before such ids were kept. */
      readonly customId: string;
      readonly status: 'cancelled' | 'expired';
    };

/** Which items a reader wants: shards that hold none of them are not fetched. */
export type Wanted = Readonly<Record<ItemStatus, boolean>>;

export const EVERYTHING: Wanted = { succeeded: true, failed: true, cancelled: true, expired: true };

/** Ordinals whose rows are read at once. */
const ORDINALS_PER_QUERY = 16;
/** The same where nothing but masks is looked at. */
const ORDINALS_PER_LOOK = 512;
/** The next ordinal is read ahead while it and the one in use have no more than this. */
const READ_AHEAD_BYTES = 32 * 1024 * 1024;
/** Segments fetched at once. */
const PARALLEL_READS = 8;

interface ReadParams {
  readonly job: JobRecord;
  readonly fromIndex: number;
  readonly wanted: Wanted;
  /** Is told the ids of never-run items, an ordinal at a time. */
  readonly onNeverRun?: (ordinal: number, ids: readonly IndexedId[]) => Promise<void>;
}

type IndexedId = readonly [index: number, customId: string];

interface Load {
  readonly ordinal: number;
  /** Of its segments. */
  readonly bytes: number;
  readonly read: () => Promise<EndedItem[]>;
}

/**
 * Reads the ends of a job's items from segments and masks. Of a job in input order at most two ordinals (512 items) are in
 * memory: the one that is being used and, unless they are large, the next.
 */
@Injectable()
export class ItemReader {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;

  constructor(@Inject(LEDGER) ledger: Ledger, @Inject(BLOBS) blobs: Blobs, @Inject(CLOCK) clock: Clock) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
  }

  /**
   * Ended items in input order, in batches. Items that have not ended are left out. The items of a planned job lie in
   * another order: all that are wanted are sorted first, which yields empty batches while it lasts.
   * @throws the reason of `signal`
   */
  inInputOrder(params: ReadParams & { signal?: AbortSignal }): AsyncGenerator<EndedItem[]> {
    const { job, signal } = params;
    const items = this.#byOrdinal(params);
    if (job.workBlobKey === undefined) return items;
    const leaseOf = (key: string) => new TemporaryLease(this.#ledger, this.#clock, key);
    return sortedItems({
      blobs: this.#blobs,
      job,
      items,
      leaseOf,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** Ended items ordinal by ordinal, in input order inside each. */
  async *#byOrdinal({ job, fromIndex, wanted, onNeverRun }: ReadParams): AsyncGenerator<EndedItem[]> {
    let next: { ordinal: number; items: Promise<EndedItem[]> } | null = null;
    const take = async ({ ordinal, items }: NonNullable<typeof next>): Promise<EndedItem[]> => {
      const ended = await items;
      const ids = onNeverRun === undefined ? [] : idsOfNeverRun(ended);
      if (ids.length > 0) await onNeverRun?.(ordinal, ids);
      return ended;
    };
    let bytesBefore = 0;
    for await (const { ordinal, bytes, read } of this.#loads(job, fromIndex, wanted)) {
      const isLarge = bytesBefore + bytes > READ_AHEAD_BYTES;
      bytesBefore = bytes;
      if (isLarge && next !== null) {
        yield* nonEmpty(await take(next), fromIndex);
        next = null;
      }
      const current: typeof next = next;
      next = { ordinal, items: read() };
      // Its failure is seen when its turn comes; until then it must not count as unhandled.
      next.items.catch(() => undefined);
      if (current !== null) yield* nonEmpty(await take(current), fromIndex);
    }
    if (next !== null) yield* nonEmpty(await take(next), fromIndex);
  }

  async *#loads(job: JobRecord, fromIndex: number, wanted: Wanted): AsyncGenerator<Load> {
    const idsOf = this.#customIds(job);
    const ordinals = await this.#ledger.countOrdinals({ jobId: job.id });
    const inOrder = job.workBlobKey === undefined;
    const start = fromIndex <= 0 || !inOrder ? 0 : await this.#ordinalOf(job.id, fromIndex, ordinals);
    for (let from = start; from < ordinals; from += ORDINALS_PER_QUERY) {
      const range = {
        jobId: job.id,
        fromOrdinal: from,
        toOrdinal: Math.min(from + ORDINALS_PER_QUERY, ordinals),
      };
      const shards = Map.groupBy(await this.#ledger.listShards(range), ({ ordinal }) => ordinal);
      const segments = Map.groupBy(await this.#ledger.listSegmentsByOrdinal(range), ({ ordinal }) => ordinal);
      for (let ordinal = from; ordinal < range.toOrdinal; ordinal += 1) {
        const own = shards.get(ordinal) ?? [];
        if (!reaches(own, fromIndex) || !hasWanted(job, own, wanted)) continue;
        const written = segments.get(ordinal) ?? [];
        yield {
          ordinal,
          bytes: written.reduce((sum, { bytes }) => sum + bytes, 0),
          read: () => this.#readOrdinal({ job, shards: own, segments: written, wanted, idsOf }),
        };
      }
    }
  }

  /** The ordinal that holds an index, by bisection. */
  async #ordinalOf(jobId: string, index: number, ordinals: number): Promise<number> {
    let low = 0;
    let high = ordinals - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const [shard] = await this.#ledger.listShards({ jobId, fromOrdinal: middle, toOrdinal: middle + 1 });
      if (shard !== undefined && shard.first <= index) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /** Where the ids of never-run items are: in a table of their own since the job ended, before that in its input. */
  #customIds(job: JobRecord): CustomIds {
    const { idsBlobKey } = job;
    if (idsBlobKey === undefined) return (shards) => readCustomIds(this.#blobs, job, shards);
    let table: ReturnType<typeof openIdTable> | null = null;
    return async (shards) => {
      table ??= openIdTable(this.#blobs, idsBlobKey);
      return await (await table)(shards[0]?.ordinal ?? -1);
    };
  }

  async #readOrdinal(params: {
    job: JobRecord;
    shards: readonly ShardRecord[];
    segments: readonly SegmentRecord[];
    wanted: Wanted;
    idsOf: CustomIds;
  }): Promise<EndedItem[]> {
    const { job, shards, segments, wanted, idsOf } = params;
    const items: EndedItem[] =
      wanted.succeeded || wanted.failed ? await this.#settled(job, segments, wanted) : [];
    const status = neverRunStatusOf(job);
    const open = status !== null && wanted[status] ? shards.flatMap(openIndices) : [];
    if (open.length > 0 && status !== null) {
      const customIds = await idsOf(shards);
      for (const index of open)
        items.push({ ended: 'never_run', index, customId: customIds.get(index) ?? '', status });
    }
    return items.sort((left, right) => left.index - right.index);
  }

  async #settled(job: JobRecord, segments: readonly SegmentRecord[], wanted: Wanted): Promise<EndedItem[]> {
    const items: EndedItem[] = [];
    for (let at = 0; at < segments.length; at += PARALLEL_READS) {
      const group = segments.slice(at, at + PARALLEL_READS);
      for (const settled of await Promise.all(group.map((segment) => this.readSegment(segment, job)))) {
        for (const item of settled) if (item.header.ok ? wanted.succeeded : wanted.failed) items.push(item);
      }
    }
    return items;
  }

  /**
   * The items that a segment decided, with the line each stands on; lines of other items are left out. Of a job that was
   * given up because of such segments, one that cannot be read is empty: the job's row says so.
   * @throws BlobMissingError, BlobDamagedError
   */
  async readSegment(segment: SegmentRecord, job?: JobRecord): Promise<SettledItem[]> {
    try {
      return await this.#readWholeSegment(segment);
    } catch (error) {
      const isLost = error instanceof BlobMissingError || error instanceof BlobDamagedError;
      if (isLost && job !== undefined && wasGivenUp(job)) return [];
      throw error;
    }
  }

  async #readWholeSegment(segment: SegmentRecord): Promise<SettledItem[]> {
    // With its length it comes in one buffer of that size.
    const bytes = await readBytes(this.#blobs, { key: segment.blobKey, offset: 0, length: segment.bytes });
    const items: SettledItem[] = [];
    const seen = new Set<number>();
    let line = -1;
    for (const { header, body } of linesOf(segment, bytes)) {
      line += 1;
      const position = positionOf(segment, header.i);
      if (position < 0 || position > 255 || !hasBit(segment.decided, position) || seen.has(position))
        continue;
      seen.add(position);
      items.push({ ended: 'settled', index: header.i, header, body, line });
    }
    // An answer that is not there must not look like an item that never was.
    if (seen.size !== countBits(segment.decided)) throw damaged(segment);
    return items;
  }

  /** The last index of the gapless run of ended items from the start; -1 when the first has not ended. */
  async endedPrefix(job: JobRecord): Promise<number> {
    const ordinals = await this.#ledger.countOrdinals({ jobId: job.id });
    if (ordinals === 0) return -1;
    const inOrder = job.workBlobKey === undefined;
    const step = inOrder ? ORDINALS_PER_QUERY : ORDINALS_PER_LOOK;
    let firstOpen = job.total;
    for (let from = 0; from < ordinals; from += step) {
      const range = { jobId: job.id, fromOrdinal: from, toOrdinal: from + step };
      for (const shard of await this.#ledger.listShards(range)) {
        for (const index of openIndices(shard)) firstOpen = Math.min(firstOpen, index);
      }
      if (inOrder && firstOpen < job.total) break;
    }
    return firstOpen - 1;
  }
}

const wasGivenUp = ({ finishedAtMs, inputErrors }: JobRecord): boolean =>
  finishedAtMs !== null && inputErrors.some(({ code }) => code === 'finalize_failed');

type SettledItem = EndedItem & { readonly ended: 'settled'; readonly line: number };

type CustomIds = (shards: readonly ShardRecord[]) => Promise<Map<number, string>>;

const idsOfNeverRun = (items: readonly EndedItem[]): IndexedId[] =>
  items.flatMap((item) => (item.ended === 'never_run' ? [[item.index, item.customId] as const] : []));

const damaged = ({ blobKey }: SegmentRecord, cause?: unknown): BlobDamagedError =>
  new BlobDamagedError(`The object ${blobKey} is damaged.`, { cause });

function* linesOf(segment: SegmentRecord, bytes: Buffer): Generator<SegmentLine> {
  const lines = decodeSegment(bytes);
  for (;;) {
    let next: IteratorResult<SegmentLine>;
    try {
      next = lines.next();
    } catch (error) {
      throw damaged(segment, error);
    }
    if (next.done === true) return;
    yield next.value;
  }
}

function* nonEmpty(items: EndedItem[], fromIndex: number): Generator<EndedItem[]> {
  const wanted =
    (items[0]?.index ?? fromIndex) >= fromIndex ? items : items.filter(({ index }) => index >= fromIndex);
  if (wanted.length > 0) yield wanted;
}

/** What an item that has no end of its own counts as; `null` while it may still be run. */
export function neverRunStatusOf(job: JobRecord): 'cancelled' | 'expired' | null {
  if (job.finishedAtMs === null && job.state !== 'finalizing') return null;
  if (job.endReason === 'expired') return 'expired';
  if (job.endReason === 'cancelled' || job.endReason === 'error_limit') return 'cancelled';
  // A retry of the failed items leaves never-run ones as they were.
  return job.expired > 0 ? 'expired' : 'cancelled';
}

/** False when all items of an ordinal stand before an index: those in input order are found by bisection. */
const reaches = (shards: readonly ShardRecord[], index: number): boolean =>
  index <= 0 || shards.some(({ indexes }) => indexes === undefined || indexes.some((own) => own >= index));

function hasWanted(job: JobRecord, shards: readonly ShardRecord[], wanted: Wanted): boolean {
  if (wanted.succeeded) return shards.length > 0;
  if (wanted.failed && shards.some(({ badMask }) => badMask.some((byte) => byte !== 0))) return true;
  const status = neverRunStatusOf(job);
  return status !== null && wanted[status] && shards.flatMap(openIndices).length > 0;
}
