import type { ItemStatus } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { type IndexedId, openIdTable } from '../finalize/id-table.js';
import { openIndices } from '../plan/positions.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord, SegmentRecord, ShardRecord } from '../ports/records.js';
import { BLOBS, CLOCK, LEDGER } from '../tokens.js';
import { type EndedItem, inBatches } from './ended-item.js';
import { readCustomIds } from './input-ids.js';
import { type ReadSegments, SegmentReader } from './segment-reader.js';
import { sortedItems } from './sorted-items.js';
import { TemporaryLease } from './temporary-lease.js';

/** Which items a reader wants: shards that hold none of them are not fetched. */
export type Wanted = Readonly<Record<ItemStatus, boolean>>;

export const EVERYTHING: Wanted = { succeeded: true, failed: true, cancelled: true, expired: true };

/** Ordinals whose rows are read at once. */
const ORDINALS_PER_QUERY = 16;
/** The same where nothing but masks is looked at. */
const ORDINALS_PER_LOOK = 512;

interface ReadParams {
  readonly job: JobRecord;
  readonly fromIndex: number;
  readonly wanted: Wanted;
  /** Is told the ids of never-run items, an ordinal at a time. */
  readonly onNeverRun?: (ordinal: number, ids: readonly IndexedId[]) => Promise<void>;
}

interface Load {
  readonly ordinal: number;
  readonly read: () => Promise<ReadOrdinal>;
}

interface ReadOrdinal {
  readonly items: readonly EndedItem[];
  readonly release: () => void;
}

/** An ordinal that is being read. */
interface Coming {
  readonly ordinal: number;
  readonly read: Promise<ReadOrdinal>;
}

/**
 * Reads the ends of a job's items from segments and masks. Of a job in input order at most two ordinals (512 items) are in
 * memory, the one that is being used and the next; of large ones only the headers are (see `SegmentReader`).
 */
@Injectable()
export class ItemReader {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #segments: SegmentReader;

  constructor(@Inject(LEDGER) ledger: Ledger, @Inject(BLOBS) blobs: Blobs, @Inject(CLOCK) clock: Clock) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#segments = new SegmentReader(blobs);
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
    let next: Coming | null = null;
    try {
      for await (const { ordinal, read } of this.#loads(job, fromIndex, wanted)) {
        const current: Coming | null = next;
        next = { ordinal, read: read() };
        // Its failure is seen when its turn comes; until then it must not count as unhandled.
        next.read.catch(() => undefined);
        if (current !== null) yield* batchesOf(current, fromIndex, onNeverRun);
      }
      if (next !== null) yield* batchesOf(next, fromIndex, onNeverRun);
    } finally {
      // Where the reader goes away early.
      void next?.read.then(
        ({ release }) => release(),
        () => undefined,
      );
    }
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
  }): Promise<ReadOrdinal> {
    const { job, shards, segments, wanted, idsOf } = params;
    const settled = await this.#segments.read(wanted.succeeded || wanted.failed ? segments : [], job);
    try {
      const items = [
        ...settled.items.filter(({ header }) => (header.ok ? wanted.succeeded : wanted.failed)),
        ...(await neverRunOf({ job, shards, wanted, idsOf })),
      ];
      return {
        items: items.sort((left, right) => left.index - right.index),
        release: settled.release,
      };
    } catch (error) {
      settled.release();
      throw error;
    }
  }

  /**
   * The items that a segment decided, as {@link SegmentReader.read} gives them.
   * @throws BlobMissingError, BlobDamagedError
   */
  async readSegment(segment: SegmentRecord, job?: JobRecord): Promise<ReadSegments> {
    return await this.#segments.read([segment], job);
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

type CustomIds = (shards: readonly ShardRecord[]) => Promise<Map<number, string>>;

const idsOfNeverRun = (items: readonly EndedItem[]): IndexedId[] =>
  items.flatMap((item) => (item.ended === 'never_run' ? [[item.index, item.customId] as const] : []));

/** The ended items of an ordinal, its memory given back when the last batch was used. */
async function* batchesOf(
  { ordinal, read }: Coming,
  fromIndex: number,
  onNeverRun: ReadParams['onNeverRun'],
): AsyncGenerator<EndedItem[]> {
  const { items, release } = await read;
  try {
    const ids = onNeverRun === undefined ? [] : idsOfNeverRun(items);
    if (ids.length > 0) await onNeverRun?.(ordinal, ids);
    const isWhole = (items[0]?.index ?? fromIndex) >= fromIndex;
    yield* inBatches(isWhole ? items : items.filter(({ index }) => index >= fromIndex));
  } finally {
    release();
  }
}

async function neverRunOf(params: {
  job: JobRecord;
  shards: readonly ShardRecord[];
  wanted: Wanted;
  idsOf: CustomIds;
}): Promise<EndedItem[]> {
  const { job, shards, wanted, idsOf } = params;
  const status = neverRunStatusOf(job);
  if (status === null || !wanted[status]) return [];
  const open = shards.flatMap(openIndices);
  if (open.length === 0) return [];
  const customIds = await idsOf(shards);
  return open.map((index) => ({
    ended: 'never_run',
    index,
    customId: customIds.get(index) ?? '',
    status,
  }));
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
