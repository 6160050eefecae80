import { countBits, fullMask, type Mask, minusMask, newId, timeOfId } from '@batch-infer/contracts';
import type { Insertable } from 'kysely';
import { sql } from 'kysely';
import { DomainError } from '../errors.js';
import type { CreateOutcome, Ledger, NewShard } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { Database, Session } from './dialect.js';
import { lockFile } from './files.js';
import { createOnce } from './idempotency.js';
import { decidedByOrdinal, insertReuse } from './reuse.js';
import { labelsOf, metadataLabel, modelLabel, NO_PROBLEM, toFileRow, toJobRecord, toJobRow } from './rows.js';
import { priorityRank, type ShardTable } from './schema.js';
import { insertOrder } from './shard-order.js';
import { writeWebhooks } from './webhook-outbox.js';

export async function createJob(
  database: Database,
  { job, file, shards, idempotency, nowMs }: Parameters<Ledger['createJob']>[0],
): Promise<CreateOutcome<JobRecord>> {
  return database.transaction((session) =>
    createOnce(session, {
      claim: idempotency,
      recordId: job.id,
      nowMs,
      find: (id) => findJob(session, { projectId: job.projectId, id }),
      create: async () => {
        if (file !== null) await session.db.insertInto('file').values(toFileRow(file)).execute();
        else await requireInput(session, job);
        const record: JobRecord =
          shards === null
            ? { ...job, state: 'validating' }
            : { ...job, state: 'queued', queuedAtMs: job.queuedAtMs ?? nowMs };
        await session.db
          .insertInto('job')
          .values(toJobRow(record, shards?.length ?? null))
          .execute();
        if (shards !== null) await insertShards(session, record, shards, 'ready');
        return record;
      },
    }),
  );
}

/** The file was there when the request was checked; it may have been deleted since. */
async function requireInput(session: Session, job: JobRecord): Promise<void> {
  if ((await lockFile(session, { projectId: job.projectId, id: job.inputFileId })) !== null) return;
  throw new DomainError(
    'not_found',
    `The file ${job.inputFileId} does not exist. Upload the input again and create the job with the new file.`,
    { param: 'file_id' },
  );
}

/** Rows of one insert: few enough for the variables of a statement, and one text for the statement cache. */
const SHARD_ROWS = 128;

async function insertShards(
  { db }: Session,
  job: Pick<JobRecord, 'id' | 'projectId' | 'priority' | 'createdAtMs'>,
  shards: readonly NewShard[],
  state: 'ready' | 'stopped',
  ended: ReadonlyMap<number, Mask> = new Map(),
): Promise<string[]> {
  const rank = priorityRank(job.priority);
  const rows = shards.map((shard, ordinal): Insertable<ShardTable> & { id: string } => ({
    id: newId('shard', job.createdAtMs),
    job_id: job.id,
    project_id: job.projectId,
    ordinal,
    first_item: shard.first,
    items: shard.count,
    byte_offset: shard.offset,
    bytes: shard.bytes,
    skip_items: 0,
    model: shard.model,
    priority_rank: rank,
    job_created_at: job.createdAtMs,
    ...endedItems(shard, state, ended.get(ordinal)),
    epoch: 0,
    lost_leases: 0,
    bad_mask: null,
    runner_id: null,
    lease_until: null,
    offered_at: null,
  }));
  for (let start = 0; start < rows.length; start += SHARD_ROWS) {
    await db
      .insertInto('shard')
      .values(rows.slice(start, start + SHARD_ROWS))
      .execute();
  }
  return rows.map(({ id }) => id);
}

/** Columns of a new shard some of whose items have ended. */
function endedItems(
  shard: NewShard,
  state: 'ready' | 'stopped',
  mask: Mask | undefined,
): Pick<ShardTable, 'state' | 'done_mask' | 'done_items'> {
  if (mask === undefined) return { state, done_mask: null, done_items: 0 };
  const done = countBits(mask);
  if (countBits(minusMask(mask, fullMask(shard.count))) > 0)
    throw new RangeError(`An answer was given to an item behind the ${shard.count} of its shard.`);
  return { state: done === shard.count ? 'done' : state, done_mask: mask, done_items: done };
}

export async function planJob(
  database: Database,
  { jobId, shards, models, work, reuse, nowMs }: Parameters<Ledger['planJob']>[0],
): Promise<boolean> {
  return database.transaction(async (session) => {
    const row = await lockJob(session, jobId);
    if (row === null || row.ordinals !== null) return false;
    if (row.state !== 'validating' && row.state !== 'cancelling') return false;
    const stopped = row.state === 'cancelling';
    const job = toJobRecord(row);
    const ended = decidedByOrdinal(reuse?.segments ?? []);
    const ids = await insertShards(session, job, shards, stopped ? 'stopped' : 'ready', ended);
    if (work !== undefined) await insertOrder(session, jobId, shards, work.order);
    const placed = shards.map(({ first }, ordinal) => ({ id: ids[ordinal] ?? '', first }));
    if (reuse !== undefined) await insertReuse(session, { job, shards: placed, reuse, nowMs });
    const reused = [...ended.values()].reduce((sum, mask) => sum + countBits(mask), 0);
    await session.db
      .updateTable('job')
      .set({
        ...plannedState({ stopped, complete: reused > 0 && reused === job.total, nowMs }),
        ordinals: shards.length,
        work_blob_key: work?.blobKey ?? null,
        finalize_owner: null,
        finalize_until: null,
        ...NO_PROBLEM,
        models: JSON.stringify(models),
        labels: labelsOf({ models, metadata: job.options.metadata ?? {} }),
        version: row.version + 1,
        succeeded: reused,
        reused_items: reused,
        segment_sequence: reuse?.segments.length ?? 0,
      })
      .where('id', '=', jobId)
      .execute();
    return true;
  });
}

/** Where a job goes from its plan: to the runners, or to its end when nothing of it is to run. */
function plannedState({ stopped, complete, nowMs }: { stopped: boolean; complete: boolean; nowMs: number }) {
  if (stopped) return { state: 'finalizing', finalizing_at: nowMs } as const;
  if (!complete) return { state: 'queued', queued_at: nowMs } as const;
  return { state: 'finalizing', queued_at: nowMs, finalizing_at: nowMs, end_reason: 'completed' } as const;
}

export async function claimPlanning(
  { db }: Database,
  { jobId, owner, claimMs, nowMs }: Parameters<Ledger['claimPlanning']>[0],
): Promise<boolean> {
  // A job is planned before it can be finalized: the columns of the one serve the other.
  const updated = await db
    .updateTable('job')
    .set({ finalize_owner: owner, finalize_until: nowMs + claimMs })
    .where('id', '=', jobId)
    .where('ordinals', 'is', null)
    .where('state', 'in', ['validating', 'cancelling'])
    .where(({ or, eb }) =>
      or([
        eb('finalize_until', 'is', null),
        eb('finalize_until', '<=', nowMs),
        eb('finalize_owner', '=', owner),
      ]),
    )
    .executeTakeFirst();
  return updated.numUpdatedRows === 1n;
}

export async function refuseJob(
  database: Database,
  { jobId, errors, nowMs }: Parameters<Ledger['refuseJob']>[0],
): Promise<boolean> {
  return database.transaction(async (session) => {
    const row = await session.db
      .updateTable('job')
      .set((expression) => ({
        state: 'failed' as const,
        // Nothing was accepted, so there is no item to account for (I2).
        total: 0,
        input_errors: JSON.stringify(errors),
        finalize_owner: null,
        finalize_until: null,
        ...NO_PROBLEM,
        finished_at: nowMs,
        version: expression('version', '+', 1),
      }))
      .where('id', '=', jobId)
      .where('ordinals', 'is', null)
      .where('state', 'in', ['validating', 'cancelling'])
      .returningAll()
      .executeTakeFirst();
    if (row === undefined) return false;
    await writeWebhooks(session, row, nowMs);
    return true;
  });
}

export async function findJob(
  { db }: Session,
  params: { projectId: string; id: string },
): Promise<JobRecord | null> {
  const row = await db
    .selectFrom('job')
    .selectAll()
    .where('id', '=', params.id)
    .where('project_id', '=', params.projectId)
    .executeTakeFirst();
  return row === undefined ? null : toJobRecord(row);
}

export async function listJobs(
  database: Database,
  params: Parameters<Ledger['listJobs']>[0],
): Promise<JobRecord[]> {
  const { db } = database;
  let query = db.selectFrom('job').selectAll().where('project_id', '=', params.projectId);
  if (params.states !== undefined) {
    if (params.states.length === 0) return [];
    query = query.where('state', 'in', params.states);
  }
  if (params.dialect !== undefined) {
    query = query.where(sql<boolean>`dialect = ${params.dialect}`);
  }
  if (params.createdAfterMs !== undefined) query = query.where('created_at', '>', params.createdAfterMs);
  if (params.model !== undefined) query = query.where(database.contains('labels', modelLabel(params.model)));
  for (const [key, value] of Object.entries(params.metadata ?? {})) {
    query = query.where(database.contains('labels', metadataLabel(key, value)));
  }
  const bounds = [
    { id: params.after, sign: sql`<` },
    { id: params.before, sign: sql`>` },
  ];
  for (const { id, sign } of bounds) {
    if (id === undefined) continue;
    const bound = await db
      .selectFrom('job')
      .select('created_at')
      .where('id', '=', id)
      .where('project_id', '=', params.projectId)
      .executeTakeFirst();
    // Of a job that was deleted its id still tells when it was made.
    const createdAt = bound?.created_at ?? timeOfId(id);
    if (createdAt === null) return [];
    query = query.where(sql<boolean>`(created_at, id) ${sign} (${createdAt}, ${id})`);
  }
  // The page before a job is found from that job on, and turned round.
  const order = params.before === undefined ? 'desc' : 'asc';
  const rows = await query.orderBy('created_at', order).orderBy('id', order).limit(params.limit).execute();
  const jobs = rows.map(toJobRecord);
  return order === 'desc' ? jobs : jobs.reverse();
}

/**
 * Reads a job for a change. Every transaction that changes a job or its shards locks the job first and the shard
 * second, so that two of them never wait for each other.
 */
export async function lockJob({ db, locksRows }: Session, jobId: string) {
  const row = await db
    .selectFrom('job')
    .selectAll()
    .where('id', '=', jobId)
    .$if(locksRows, (query) => query.forUpdate())
    .executeTakeFirst();
  return row ?? null;
}

/** Locks the job of a shard, then the shard; `null` when there is no such shard. */
export async function lockJobAndShard(session: Session, shardId: string) {
  const { db, locksRows } = session;
  const job = await db
    .selectFrom('job')
    .selectAll()
    .where('id', '=', (expression) =>
      expression.selectFrom('shard').select('job_id').where('shard.id', '=', shardId),
    )
    .$if(locksRows, (query) => query.forUpdate())
    .executeTakeFirst();
  if (job === undefined) return null;
  const shard = await db
    .selectFrom('shard')
    .selectAll()
    .where('id', '=', shardId)
    .$if(locksRows, (query) => query.forUpdate())
    .executeTakeFirstOrThrow();
  return { job, shard };
}
