import { type AnswerOrigin, emptyMask, encodeSegmentLine, SEGMENT_TAB, setBit } from '@batch-infer/contracts';
import { deleteBlobs } from '../files/delete-blobs.js';
import { readCustomIds } from '../jobs/input-ids.js';
import { newSegmentBlobKey } from '../jobs/segment-key.js';
import { ExternalSort, type SortedRecord } from '../plan/external-sort.js';
import { positionsIn } from '../plan/positions.js';
import { newTemporaryBlobKey, type WorkPlan } from '../plan/work-file.js';
import type { Blobs } from '../ports/blobs.js';
import type { NewShard } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { ReusedSegment, ReuseKeys } from '../ports/reuse.js';

/** Bytes of answers in one segment, about: readers hold one whole. */
const SEGMENT_BYTES = 8 * 1_024 * 1_024;
/** Segments made at once. */
const PARALLEL_WRITES = 4;
/** Memory for answers that wait to be written; what is more goes through a temporary object. */
const MEMORY_BYTES = 16 * 1_024 * 1_024;

/** What is kept of an answer besides its body until it is written. */
interface AnswerHead {
  /** HTTP status at the engine. */
  readonly status: number;
  readonly requestId: string;
  readonly from: AnswerOrigin;
}

export const encodeAnswer = (head: AnswerHead, body: Uint8Array): (string | Uint8Array)[] => [
  `${JSON.stringify(head)}\t`,
  body,
];

function decodeAnswer(bytes: Buffer): { head: AnswerHead; body: Uint8Array } {
  const tab = bytes.indexOf(SEGMENT_TAB);
  return { head: JSON.parse(bytes.toString('utf8', 0, tab)) as AnswerHead, body: bytes.subarray(tab + 1) };
}

/** Brings answers into the order of their items. To be disposed of. */
export const answerSort = (blobs: Blobs, projectId: string): ExternalSort =>
  new ExternalSort({ blobs, key: newTemporaryBlobKey(projectId), memoryBytes: MEMORY_BYTES });

/** Answers of earlier jobs for items of a job that is being planned. To be disposed of. */
export class FoundAnswers {
  readonly keys: ReuseKeys;
  /** 1 for each item that has an answer, in input order. */
  readonly decided: Uint8Array;
  /** How many have one. */
  readonly count: number;
  readonly #blobs: Blobs;
  readonly #job: JobRecord;
  /** Answers by the index of their item. */
  readonly #sort: ExternalSort;

  constructor(params: {
    blobs: Blobs;
    job: JobRecord;
    keys: ReuseKeys;
    decided: Uint8Array;
    count: number;
    sort: ExternalSort;
  }) {
    this.keys = params.keys;
    this.decided = params.decided;
    this.count = params.count;
    this.#blobs = params.blobs;
    this.#job = params.job;
    this.#sort = params.sort;
  }

  /**
   * Writes the answers as segments of the job's shards, each line under the new job's own ids. To be called once. What it
   * stored is the caller's to delete when the job is not planned; nothing stays when it throws.
   */
  async toSegments(params: {
    shards: readonly NewShard[];
    /** Where the shards lie, when that is not the input in its own order. */
    work: WorkPlan | null;
    onProgress: () => Promise<void>;
  }): Promise<ReusedSegment[]> {
    const { shards, work, onProgress } = params;
    const written: ReusedSegment[] = [];
    const writing = new Set<Promise<void>>();
    try {
      for await (const group of byShard(this.#inOrderOf(work, onProgress), shards)) {
        await onProgress();
        const task = this.#writeSegment(group, work).then((segment) => {
          written.push(segment);
          writing.delete(task);
        });
        writing.add(task);
        // Its failure is seen when it is waited for; until then it must not count as unhandled.
        task.catch(() => undefined);
        if (writing.size >= PARALLEL_WRITES) await Promise.race(writing);
      }
      await Promise.all(writing);
      return written.sort((left, right) => left.ordinal - right.ordinal);
    } catch (error) {
      await Promise.allSettled(writing);
      await deleteBlobs(
        this.#blobs,
        written.map(({ blobKey }) => blobKey),
      );
      throw error;
    }
  }

  /** Deletes what only the search needed. */
  async dispose(): Promise<void> {
    await this.#sort.dispose();
  }

  /** Answers by the position of their item in the plan. */
  async *#inOrderOf(
    work: WorkPlan | null,
    onProgress: () => Promise<void>,
  ): AsyncGenerator<readonly SortedRecord[]> {
    if (work === null) {
      yield* this.#sort.sorted();
      return;
    }
    const positions = positionsIn(work.order);
    const sort = answerSort(this.#blobs, this.#job.projectId);
    try {
      for await (const batch of this.#sort.sorted()) {
        await onProgress();
        for (const record of batch) await sort.add(positions[record.key] ?? 0, [record.bytes]);
      }
      yield* sort.sorted();
    } finally {
      await sort.dispose();
    }
  }

  async #writeSegment(group: ShardAnswers, work: WorkPlan | null): Promise<ReusedSegment> {
    const { ordinal, shard, records } = group;
    const job = this.#job;
    const lines = work === null ? job : { ...job, workBlobKey: work.blobKey };
    const indexes = work?.order.subarray(shard.first, shard.first + shard.count);
    const customIds = await readCustomIds(this.#blobs, lines, [
      { ...shard, skip: 0, ...(indexes && { indexes }) },
    ]);
    const decided = emptyMask();
    const encoded = records.map(({ key, bytes }) => {
      const position = key - shard.first;
      const index = indexes?.[position] ?? key;
      const customId = customIds.get(index);
      if (customId === undefined) throw new Error(`item ${index} of ${job.id} has no line in its input`);
      setBit(decided, position);
      const { head, body } = decodeAnswer(bytes);
      const line = { i: index, c: customId, ok: true, st: head.status, a: 0, ms: 0, r: head.requestId };
      return encodeSegmentLine({ ...line, f: head.from }, body);
    });
    const segment = Buffer.concat(encoded);
    const blobKey = newSegmentBlobKey(job.projectId, job.id);
    await this.#blobs.put({ key: blobKey, body: segment });
    return { ordinal, blobKey, bytes: segment.length, decided };
  }
}

/** Answers of one shard, or some of them. */
interface ShardAnswers {
  readonly ordinal: number;
  readonly shard: NewShard;
  readonly records: readonly SortedRecord[];
}

async function* byShard(
  batches: AsyncIterable<readonly SortedRecord[]>,
  shards: readonly NewShard[],
): AsyncGenerator<ShardAnswers> {
  let ordinal = 0;
  let records: SortedRecord[] = [];
  let bytes = 0;
  const group = (): ShardAnswers[] => {
    const shard = shards[ordinal];
    const full = records;
    records = [];
    bytes = 0;
    return shard === undefined || full.length === 0 ? [] : [{ ordinal, shard, records: full }];
  };
  for await (const batch of batches) {
    for (const record of batch) {
      let shard = shards[ordinal];
      if (shard !== undefined && record.key >= shard.first + shard.count) yield* group();
      while (shard !== undefined && record.key >= shard.first + shard.count) {
        ordinal += 1;
        shard = shards[ordinal];
      }
      records.push(record);
      bytes += record.bytes.length;
      if (bytes >= SEGMENT_BYTES) yield* group();
    }
  }
  yield* group();
}
