import { timeOfId } from '@batch-infer/contracts';
import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { CreateOutcome, Ledger } from '../ports/ledger.js';
import type { FileRecord } from '../ports/records.js';
import type { Database, Session } from './dialect.js';
import { createOnce } from './idempotency.js';
import { toFileRecord, toFileRow } from './rows.js';
import type { FileTable } from './schema.js';
import { OPEN_STATES } from './states.js';

export async function createFile(
  database: Database,
  { file, idempotency, nowMs }: Parameters<Ledger['createFile']>[0],
): Promise<CreateOutcome<FileRecord>> {
  return database.transaction((session) =>
    createOnce(session, {
      claim: idempotency,
      recordId: file.id,
      nowMs,
      find: (id) => findFile(session, { projectId: file.projectId, id }),
      create: async () => {
        await session.db.insertInto('file').values(toFileRow(file)).execute();
        return file;
      },
    }),
  );
}

export async function findFile(
  { db }: Session,
  params: { projectId: string; id: string },
): Promise<FileRecord | null> {
  const row = await db
    .selectFrom('file')
    .selectAll()
    .where('id', '=', params.id)
    .where('project_id', '=', params.projectId)
    .executeTakeFirst();
  return row === undefined ? null : toFileRecord(row);
}

/** Everything but the summary, which may be large. */
const LISTED = [
  'id',
  'project_id',
  'purpose',
  'filename',
  'bytes',
  'sha256',
  'blob_key',
  'internal',
  'created_at',
  'expires_at',
] as const satisfies readonly (keyof Selectable<FileTable>)[];

export async function listFiles(
  { db }: Database,
  params: Parameters<Ledger['listFiles']>[0],
): Promise<FileRecord[]> {
  const order = params.order ?? 'desc';
  let query = db
    .selectFrom('file')
    .select(LISTED)
    .where('project_id', '=', params.projectId)
    .where('internal', '=', 0);
  if (params.purpose !== undefined) query = query.where('purpose', '=', params.purpose);
  if (params.after !== undefined) {
    const after = await db
      .selectFrom('file')
      .select('created_at')
      .where('id', '=', params.after)
      .where('project_id', '=', params.projectId)
      .executeTakeFirst();
    // Of a file that was deleted its id still tells when it was made.
    const createdAt = after?.created_at ?? timeOfId(params.after);
    if (createdAt === null) return [];
    const position = sql`(${createdAt}, ${params.after})`;
    query = query.where(
      order === 'desc'
        ? sql<boolean>`(created_at, id) < ${position}`
        : sql<boolean>`(created_at, id) > ${position}`,
    );
  }
  const rows = await query.orderBy('created_at', order).orderBy('id', order).limit(params.limit).execute();
  return rows.map(toFileRecord);
}

export async function deleteFile(
  database: Database,
  params: Parameters<Ledger['deleteFile']>[0],
): ReturnType<Ledger['deleteFile']> {
  return database.transaction(async (session) => {
    const row = await lockFile(session, params);
    if (row === null) return { outcome: 'not_found' };
    if (await isRead(session, params.id)) return { outcome: 'in_use' };
    await session.db.deleteFrom('file').where('id', '=', params.id).execute();
    return {
      outcome: 'deleted',
      blobKey: row.blobKey,
      workBlobKeys: await workFilesOf(session, [params.id]),
    };
  });
}

export async function expireFiles(
  database: Database,
  params: Parameters<Ledger['expireFiles']>[0],
): Promise<string[]> {
  return database.transaction(async (session) => {
    const { db, locksRows } = session;
    const rows = await db
      .selectFrom('file')
      .select(['id', 'blob_key'])
      .where('expires_at', '<=', params.nowMs)
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('job')
              .select('job.id')
              .whereRef('job.input_file_id', '=', 'file.id')
              .where('job.state', 'in', OPEN_STATES),
          ),
        ),
      )
      .orderBy('expires_at')
      .limit(params.limit)
      .$if(locksRows, (query) => query.forUpdate().skipLocked())
      .execute();
    // A job may have taken the file between the look and the lock; while the lock is held, none can.
    const read = await readByOpenJobs(
      session,
      rows.map((row) => row.id),
    );
    const expired = rows.filter((row) => !read.has(row.id));
    if (expired.length === 0) return [];
    const ids = expired.map((row) => row.id);
    await db.deleteFrom('file').where('id', 'in', ids).execute();
    return [...expired.map((row) => row.blob_key), ...(await workFilesOf(session, ids))];
  });
}

/**
 * Reads a file's blob key and keeps the file from being deleted until the transaction ends; `null` when it is gone.
 */
export async function lockFile(
  { db, locksRows }: Session,
  params: { projectId: string; id: string },
): Promise<{ blobKey: string } | null> {
  const row = await db
    .selectFrom('file')
    .select('blob_key')
    .where('id', '=', params.id)
    .where('project_id', '=', params.projectId)
    .$if(locksRows, (query) => query.forUpdate())
    .executeTakeFirst();
  return row === undefined ? null : { blobKey: row.blob_key };
}

/** Work files that were made of these inputs: they hold the same prompts, and are of no use without them. */
async function workFilesOf({ db }: Session, fileIds: readonly string[]): Promise<string[]> {
  const rows = await db
    .selectFrom('job')
    .select('work_blob_key')
    .where('input_file_id', 'in', fileIds)
    .where('work_blob_key', 'is not', null)
    .execute();
  return rows.flatMap((row) => row.work_blob_key ?? []);
}

async function isRead({ db }: Session, fileId: string): Promise<boolean> {
  const row = await db
    .selectFrom('job')
    .select('id')
    .where('input_file_id', '=', fileId)
    .where('state', 'in', OPEN_STATES)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** Which of the files are inputs of jobs that have not ended. */
async function readByOpenJobs({ db }: Session, fileIds: readonly string[]): Promise<ReadonlySet<string>> {
  if (fileIds.length === 0) return new Set();
  const rows = await db
    .selectFrom('job')
    .select('input_file_id')
    .where('input_file_id', 'in', fileIds)
    .where('state', 'in', OPEN_STATES)
    .execute();
  return new Set(rows.flatMap((row) => row.input_file_id ?? []));
}
