import type { Ledger } from '../ports/ledger.js';
import type { FileRecord, JobRecord } from '../ports/records.js';
import type { Database, Session } from './dialect.js';
import { lockJob } from './jobs.js';
import { NO_PROBLEM, toFileRow, toJobRecord } from './rows.js';
import type { JobRow } from './schema.js';
import { writeWebhooks } from './webhook-outbox.js';

export async function claimFinalization(
  database: Database,
  { jobId, owner, claimMs, nowMs }: Parameters<Ledger['claimFinalization']>[0],
): Promise<JobRecord | null> {
  return database.transaction(async ({ db, locksRows }) => {
    let query = db
      .selectFrom('job')
      .selectAll()
      .where('state', '=', 'finalizing')
      .where((expression) =>
        expression.or([
          expression('finalize_until', 'is', null),
          expression('finalize_until', '<=', nowMs),
          ...(jobId === undefined ? [] : [expression('finalize_owner', '=', owner)]),
        ]),
      );
    if (jobId !== undefined) query = query.where('id', '=', jobId);
    const row = await query
      .orderBy('finalizing_at')
      .limit(1)
      .$if(locksRows, (locked) => locked.forUpdate().skipLocked())
      .executeTakeFirst();
    if (row === undefined) return null;
    await db
      .updateTable('job')
      .set({ finalize_owner: owner, finalize_until: nowMs + claimMs })
      .where('id', '=', row.id)
      .execute();
    return toJobRecord(row);
  });
}

export async function finishJob(
  database: Database,
  params: Parameters<Ledger['finishJob']>[0],
): Promise<boolean> {
  return database.transaction(async (session) => {
    const job = await lockJob(session, params.jobId);
    if (job === null || job.state !== 'finalizing' || job.finalize_owner !== params.owner) return false;
    const accounted = job.succeeded + job.failed + params.cancelled + params.expired;
    if (accounted !== job.total) {
      throw new Error(
        `Job ${job.id} has ${job.total} items, but ${accounted} are accounted for (${job.succeeded} succeeded, ${job.failed} failed, ${params.cancelled} cancelled, ${params.expired} expired).`,
      );
    }
    for (const file of [params.outputFile, params.errorFile]) {
      if (file !== null) await putFile(session, file);
    }
    const end = {
      state: params.state,
      cancelled: params.cancelled,
      expired: params.expired,
      output_file_id: params.outputFile?.id ?? null,
      error_file_id: params.errorFile?.id ?? null,
      ids_blob_key: params.idsBlobKey ?? null,
    };
    await endFinalizing(session, job, end, params.nowMs);
    return true;
  });
}

/** Ends a `finalizing` job that is locked; whoever wants to know is told. */
export async function endFinalizing(
  session: Session,
  job: JobRow,
  end: Pick<JobRow, 'state' | 'cancelled' | 'expired'> & Partial<JobRow>,
  nowMs: number,
): Promise<void> {
  const ended = {
    ...end,
    finalize_owner: null,
    finalize_until: null,
    ...NO_PROBLEM,
    finished_at: nowMs,
    version: job.version + 1,
  };
  await session.db.updateTable('job').set(ended).where('id', '=', job.id).execute();
  await writeWebhooks(session, { ...job, ...ended }, nowMs);
}

/** A job that is finalized again after a retry may name its files as before. */
async function putFile({ db }: Session, file: FileRecord): Promise<void> {
  const row = toFileRow(file);
  const { id: _, ...content } = row;
  await db
    .insertInto('file')
    .values(row)
    .onConflict((conflict) => conflict.column('id').doUpdateSet(content))
    .execute();
}

export async function abandonFinalization(
  { db }: Database,
  { jobId, owner }: Parameters<Ledger['abandonFinalization']>[0],
): Promise<void> {
  await db
    .updateTable('job')
    .set({ finalize_owner: null, finalize_until: null })
    .where('id', '=', jobId)
    .where('finalize_owner', '=', owner)
    .execute();
}
