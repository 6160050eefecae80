import { type AnswerOrigin, hasBit, LIMITS } from '@batch-infer/contracts';
import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import { Inject, Injectable } from '@nestjs/common';
import type { SettledItem } from '../jobs/ended-item.js';
import { ItemReader } from '../jobs/item-reader.js';
import { wholeBody } from '../jobs/stored-body.js';
import type { ExternalSort } from '../plan/external-sort.js';
import { inputLines } from '../plan/line-batches.js';
import { indexAt } from '../plan/positions.js';
import { BlobDamagedError, BlobMissingError, type Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord, SegmentRecord } from '../ports/records.js';
import type { ReuseIndex } from '../ports/reuse.js';
import { BLOBS, CLOCK, LEDGER } from '../tokens.js';
import { answerSort, encodeAnswer, FoundAnswers } from './found-answers.js';
import { hasKeyAt, ItemKeys, KeyTable } from './key-table.js';
import { KEY_BYTES, RequestKeys } from './request-keys.js';
import { readKeys, storeKeys } from './stored-keys.js';

/** Earlier jobs asked for at once. */
const JOBS_PER_QUERY = 100;
/** Shards of an earlier job whose segments are looked at together, and segments read at once. */
const ORDINALS_PER_QUERY = 64;
const PARALLEL_READS = 4;

/** A search for the answers of one job. */
interface Search {
  readonly job: JobRecord;
  /** Answers that were settled before are too old. */
  readonly oldestMs: number;
  readonly table: KeyTable;
  /** 1 for each item of the job that has its answer. */
  readonly decided: Uint8Array;
  readonly sort: ExternalSort;
  readonly onProgress: () => Promise<void>;
  /** Items with a key that have no answer yet. */
  left: number;
}

/**
 * Looks for answers to a job's requests among the earlier jobs of its project that share theirs, newest first. Memory is
 * about 40 bytes an item of the job, 4 bytes an item of one earlier job, and some ten megabytes for answers.
 */
@Injectable()
export class EarlierAnswers {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #reader: ItemReader;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(ItemReader) reader: ItemReader,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#reader = reader;
  }

  /**
   * What was found is to be disposed of; keys that were stored are the caller's to delete when the job is not planned.
   * `null`: no request of the job determines its answer.
   * @param params.onProgress called every few milliseconds; what it throws ends the search, and nothing stays
   */
  async find(params: {
    job: JobRecord;
    summary: ScanSummary;
    onProgress: () => Promise<void>;
  }): Promise<FoundAnswers | null> {
    const { job, onProgress } = params;
    const keys = await this.#keysOf(params);
    if (keys.count === 0) return null;
    const maxAgeSeconds = job.options.reuse_max_age_seconds ?? LIMITS.reuseMaxAgeDefaultSeconds;
    const search: Search = {
      job,
      oldestMs: this.#clock.nowMs() - maxAgeSeconds * 1_000,
      table: await KeyTable.of(keys),
      decided: new Uint8Array(keys.length),
      sort: answerSort(this.#blobs, job.projectId),
      onProgress,
      left: keys.count,
    };
    try {
      await this.#searchAll(search);
      return new FoundAnswers({
        blobs: this.#blobs,
        job,
        keys: await storeKeys(this.#blobs, job.projectId, keys.bytes),
        decided: search.decided,
        count: keys.count - search.left,
        sort: search.sort,
      });
    } catch (error) {
      await search.sort.dispose();
      throw error;
    }
  }

  async #keysOf(params: {
    job: JobRecord;
    summary: ScanSummary;
    onProgress: () => Promise<void>;
  }): Promise<ItemKeys> {
    const { job, summary, onProgress } = params;
    const keys = new ItemKeys(summary.items);
    const requests = new RequestKeys(job.projectId, job.options);
    let index = 0;
    for await (const lines of await inputLines(this.#blobs, job, summary)) {
      await onProgress();
      for (const line of lines) {
        const key = index < keys.length ? requests.of(line) : null;
        if (key !== null) keys.set(index, key);
        index += 1;
      }
    }
    return keys;
  }

  async #searchAll(search: Search): Promise<void> {
    let beforeJobId = search.job.id;
    let jobs = 0;
    let items = 0;
    while (search.left > 0 && jobs < LIMITS.reuseSearchJobs) {
      const indexes = await this.#ledger.listReuseIndexes({
        projectId: search.job.projectId,
        beforeJobId,
        endedAfterMs: search.oldestMs,
        nowMs: this.#clock.nowMs(),
        limit: Math.min(JOBS_PER_QUERY, LIMITS.reuseSearchJobs - jobs),
      });
      for (const index of indexes) {
        items += index.items;
        if (search.left === 0 || items > LIMITS.reuseSearchItems) return;
        await search.onProgress();
        await this.#searchOne(search, index);
        beforeJobId = index.jobId;
      }
      jobs += indexes.length;
      if (indexes.length < JOBS_PER_QUERY) return;
    }
  }

  async #searchOne(search: Search, source: ReuseIndex): Promise<void> {
    try {
      const wanted = await this.#wantedOf(search, source);
      if (wanted !== null) await this.#takeOver(search, source.jobId, wanted);
    } catch (error) {
      // It was deleted meanwhile: what it had is gone.
      if (!(error instanceof BlobMissingError || error instanceof BlobDamagedError)) throw error;
    }
  }

  /** For each item of an earlier job the item of this one that could have its answer, plus one; `null`: for none. */
  async #wantedOf(search: Search, source: ReuseIndex): Promise<Uint32Array | null> {
    let wanted: Uint32Array | null = null;
    let index = 0;
    for await (const bytes of readKeys(this.#blobs, source.keys)) {
      await search.onProgress();
      for (let at = 0; at < bytes.length; at += KEY_BYTES, index += 1) {
        if (!hasKeyAt(bytes, at)) continue;
        const item = search.table.find(bytes, at);
        if (item < 0 || search.decided[item] === 1) continue;
        wanted ??= new Uint32Array(source.items);
        wanted[index] = item + 1;
      }
    }
    return wanted;
  }

  async #takeOver(search: Search, jobId: string, wanted: Uint32Array): Promise<void> {
    const ordinals = await this.#ledger.countOrdinals({ jobId });
    for (let from = 0; from < ordinals && search.left > 0; from += ORDINALS_PER_QUERY) {
      const range = { jobId, fromOrdinal: from, toOrdinal: from + ORDINALS_PER_QUERY };
      const segments = (await this.#ledger.listSegmentsByOrdinal(range)).filter(
        (segment) => segment.settledAtMs >= search.oldestMs && holdsWanted(segment, wanted),
      );
      for (let at = 0; at < segments.length; at += PARALLEL_READS) {
        await search.onProgress();
        await this.#readSegments(search, segments.slice(at, at + PARALLEL_READS), wanted);
      }
    }
  }

  async #readSegments(
    search: Search,
    segments: readonly SegmentRecord[],
    wanted: Uint32Array,
  ): Promise<void> {
    const reads = segments.map(async (segment) => ({
      segment,
      ...(await this.#reader.readSegment(segment)),
    }));
    try {
      for (const { segment, items } of await Promise.all(reads))
        await this.#take(search, segment, items, wanted);
    } finally {
      for (const read of await Promise.allSettled(reads))
        if (read.status === 'fulfilled') read.value.release();
    }
  }

  async #take(
    search: Search,
    segment: SegmentRecord,
    items: readonly SettledItem[],
    wanted: Uint32Array,
  ): Promise<void> {
    for (const { index, header, body } of items) {
      const item = (wanted[index] ?? 0) - 1;
      if (item < 0 || !header.ok || search.decided[item] === 1) continue;
      // An answer that was taken over itself is as old as it was at its first job.
      const from: AnswerOrigin = header.f ?? { j: segment.jobId, t: segment.settledAtMs };
      if (from.t < search.oldestMs) continue;
      const bytes = await wholeBody(body);
      for (const alike of search.table.alike(item)) {
        search.decided[alike] = 1;
        search.left -= 1;
        await search.sort.add(alike, encodeAnswer({ status: header.st, requestId: header.r, from }, bytes));
      }
    }
  }
}

function holdsWanted(segment: SegmentRecord, wanted: Uint32Array): boolean {
  for (let position = 0; position < LIMITS.shardItems; position += 1) {
    if (hasBit(segment.decided, position) && (wanted[indexAt(segment, position)] ?? 0) > 0) return true;
  }
  return false;
}
