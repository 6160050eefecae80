import { isTerminal, newId } from '@batch-infer/contracts';
import type { Ledger } from '../ports/ledger.js';
import type { Database } from './dialect.js';
import { lockJob } from './jobs.js';
import { deleteReuse } from './reuse.js';
import { ENDED_STATES } from './states.js';

/** Removes an ended job and what only it holds; an input that is a file of its own stays. */
export async function deleteJob(
  database: Database,
  params: Parameters<Ledger['deleteJob']>[0],
): ReturnType<Ledger['deleteJob']> {
  return database.transaction(async (session) => {
    const { db } = session;
    const job = await lockJob(session, params.id);
    if (job === null || job.project_id !== params.projectId) return { outcome: 'not_found' };
    if (!isTerminal(job.state)) return { outcome: 'running' };
    const { endedByMs } = params;
    if (endedByMs !== undefined && (job.finished_at ?? Number.POSITIVE_INFINITY) > endedByMs)
      return { outcome: 'running' };
    const made = [job.output_file_id, job.error_file_id].filter((id) => id !== null);
    const produced = endedByMs === undefined ? made : [];
    const files = await db
      .selectFrom('file')
      .select(['id', 'blob_key'])
      .where('project_id', '=', params.projectId)
      .where((expression) =>
        expression.or([
          expression.and([expression('id', '=', job.input_file_id), expression('internal', '=', 1)]),
          ...(produced.length === 0 ? [] : [expression('id', 'in', produced)]),
        ]),
      )
      .execute();
    const segments = await db.selectFrom('segment').select('blob_key').where('job_id', '=', job.id).execute();
    await db.deleteFrom('segment').where('job_id', '=', job.id).execute();
    await db.deleteFrom('shard').where('job_id', '=', job.id).execute();
    await db.deleteFrom('shard_order').where('job_id', '=', job.id).execute();
    await db.deleteFrom('job').where('id', '=', job.id).execute();
    const fileIds = files.map(({ id }) => id);
    if (fileIds.length > 0) await db.deleteFrom('file').where('id', 'in', fileIds).execute();
    const blobKeys = [...files, ...segments].map((row) => row.blob_key);
    blobKeys.push(...(await deleteReuse(session, job.id)));
    if (job.work_blob_key !== null) blobKeys.push(job.work_blob_key);
    if (job.ids_blob_key !== null) blobKeys.push(job.ids_blob_key);
    return { outcome: 'deleted', blobKeys };
  });
}

export async function listEnded(
  { db }: Database,
  { endedByMs, limit }: Parameters<Ledger['listEnded']>[0],
): ReturnType<Ledger['listEnded']> {
  const rows = await db
    .selectFrom('job')
    .select(['id', 'project_id'])
    // Ids grow with time, and nothing ends before it was made: the key alone leaves out all that is younger.
    .where('id', '<', newId('job', endedByMs + 1))
    .where('state', 'in', ENDED_STATES)
    .where('finished_at', '<=', endedByMs)
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map((row) => ({ projectId: row.project_id, id: row.id }));
}
