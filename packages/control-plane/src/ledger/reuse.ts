import { countBits, emptyMask, type Mask, orMasks } from '@batch-infer/contracts';
import type { Insertable } from 'kysely';
import type { PlannedReuse, ReusedSegment, ReuseIndex, ReuseLedger } from '../ports/reuse.js';
import type { Database, Session } from './dialect.js';
import { NO_USAGE } from './job-rules.js';
import type { ReuseIndexTable, SegmentTable } from './schema.js';

/** Answers of earlier jobs: which jobs have some, and how a plan brings them in. */

export const reuseLedger = (database: Database): ReuseLedger => ({
  listReuseIndexes: (params) => listReuseIndexes(database, params),
});

async function listReuseIndexes(
  { db }: Database,
  params: Parameters<ReuseLedger['listReuseIndexes']>[0],
): Promise<ReuseIndex[]> {
  const rows = await db
    .selectFrom('reuse_index')
    .innerJoin('job', 'job.id', 'reuse_index.job_id')
    .leftJoin('file', 'file.id', 'job.output_file_id')
    .selectAll('reuse_index')
    .where('reuse_index.project_id', '=', params.projectId)
    // Ids grow with time.
    .where('reuse_index.job_id', '<', params.beforeJobId)
    .where(({ or, eb }) =>
      or([eb('job.finished_at', 'is', null), eb('job.finished_at', '>', params.endedAfterMs)]),
    )
    .where(({ or, and, eb }) =>
      or([
        eb('job.output_file_id', 'is', null),
        and([
          eb('file.id', 'is not', null),
          or([eb('file.expires_at', 'is', null), eb('file.expires_at', '>', params.nowMs)]),
        ]),
      ]),
    )
    .orderBy('reuse_index.job_id', 'desc')
    .limit(params.limit)
    .execute();
  return rows.map((row) => ({
    jobId: row.job_id,
    items: row.items,
    keys:
      row.blob_key === null
        ? { bytes: row.keys ?? new Uint8Array(), blobKey: null }
        : { bytes: null, blobKey: row.blob_key },
  }));
}

/**
 * The items of each shard that segments of a plan have decided.
 * @throws {RangeError} when two of them decide the same item
 */
export function decidedByOrdinal(segments: readonly ReusedSegment[]): Map<number, Mask> {
  const decided = new Map<number, Mask>();
  for (const { ordinal, decided: own } of segments) {
    const before = decided.get(ordinal) ?? emptyMask();
    const both = orMasks(before, own);
    if (countBits(both) !== countBits(before) + countBits(own))
      throw new RangeError(`An item of shard ${ordinal} was given two answers.`);
    decided.set(ordinal, both);
  }
  return decided;
}

/** Rows of one insert. */
const ROWS_AT_ONCE = 128;

/**
 * Inserts what a plan took over as the job's first segments. They count as settled, but neither as tokens of the job nor
 * in its rate: nothing has run for them.
 */
export async function insertReuse(
  { db }: Session,
  params: {
    job: { readonly id: string; readonly projectId: string; readonly total: number };
    shards: readonly { readonly id: string; readonly first: number }[];
    reuse: PlannedReuse;
    nowMs: number;
  },
): Promise<void> {
  const { job, shards, reuse, nowMs } = params;
  const rows = reuse.segments.map((segment, index): Insertable<SegmentTable> => {
    const shard = shards[segment.ordinal];
    if (shard === undefined) throw new RangeError(`The plan of ${job.id} has no shard ${segment.ordinal}.`);
    return {
      job_id: job.id,
      sequence: index + 1,
      shard_id: shard.id,
      ordinal: segment.ordinal,
      blob_key: segment.blobKey,
      bytes: segment.bytes,
      first_item: shard.first,
      decided: segment.decided,
      items: 0,
      input_tokens: NO_USAGE.inputTokens,
      cached_input_tokens: NO_USAGE.cachedInputTokens,
      output_tokens: NO_USAGE.outputTokens,
      reasoning_tokens: NO_USAGE.reasoningTokens,
      settled_at: nowMs,
    };
  });
  for (let start = 0; start < rows.length; start += ROWS_AT_ONCE) {
    await db
      .insertInto('segment')
      .values(rows.slice(start, start + ROWS_AT_ONCE))
      .execute();
  }
  if (reuse.keys === null) return;
  const index: Insertable<ReuseIndexTable> = {
    job_id: job.id,
    project_id: job.projectId,
    items: job.total,
    keys: reuse.keys.bytes,
    blob_key: reuse.keys.blobKey,
  };
  await db.insertInto('reuse_index').values(index).execute();
}

/** Forgets what a job's requests are known by; the key of the object that is to be deleted. */
export async function deleteReuse({ db }: Session, jobId: string): Promise<string[]> {
  const rows = await db.deleteFrom('reuse_index').where('job_id', '=', jobId).returning('blob_key').execute();
  return rows.flatMap((row) => row.blob_key ?? []);
}
