import type { Insertable, Selectable } from 'kysely';
import type { UploadLedger, UploadPartRecord, UploadRecord } from '../ports/uploads.js';
import type { Database, Session } from './dialect.js';
import { createOnce, findEarlier } from './idempotency.js';
import type { UploadPartTable, UploadTable } from './schema.js';

/** Uploads in parts: every method is one transaction. */
export function uploadLedger(database: Database): UploadLedger {
  return {
    createUpload: ({ upload, idempotency, nowMs }) =>
      database.transaction((session) =>
        createOnce(session, {
          claim: idempotency,
          recordId: upload.id,
          nowMs,
          find: (id) => findUpload(session, { projectId: upload.projectId, id }),
          create: async () => {
            await session.db.insertInto('upload').values(toRow(upload)).execute();
            return upload;
          },
        }),
      ),
    getUpload: (params) => findUpload(database, params),
    addUploadPart: (params) => addPart(database, params),
    listUploadParts: ({ uploadId }) => listParts(database, uploadId),
    endUpload: (params) => endUpload(database, params),
    expireUploads: (params) => expireUploads(database, params),
  };
}

async function findUpload(
  { db }: Session,
  params: { projectId: string; id: string },
): Promise<UploadRecord | null> {
  const row = await db
    .selectFrom('upload')
    .selectAll()
    .where('id', '=', params.id)
    .where('project_id', '=', params.projectId)
    .executeTakeFirst();
  return row === undefined ? null : toRecord(row);
}

/** Keeps an upload from being ended or filled by others until the transaction ends. */
async function lockUpload(
  { db, locksRows }: Session,
  params: { projectId: string; id: string },
): Promise<UploadRecord | null> {
  const row = await db
    .selectFrom('upload')
    .selectAll()
    .where('id', '=', params.id)
    .where('project_id', '=', params.projectId)
    .$if(locksRows, (query) => query.forUpdate())
    .executeTakeFirst();
  return row === undefined ? null : toRecord(row);
}

async function listParts({ db }: Session, uploadId: string): Promise<UploadPartRecord[]> {
  const rows = await db
    .selectFrom('upload_part')
    .selectAll()
    .where('upload_id', '=', uploadId)
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  return rows.map(toPartRecord);
}

async function addPart(
  database: Database,
  { projectId, part, maxBytes, idempotency, nowMs }: Parameters<UploadLedger['addUploadPart']>[0],
): ReturnType<UploadLedger['addUploadPart']> {
  return database.transaction(async (session) => {
    const upload = await lockUpload(session, { projectId, id: part.uploadId });
    if (upload === null) return null;
    if (upload.state !== 'pending' || upload.expiresAtMs <= nowMs) {
      // Parts have no rows any more, but a part that is sent again, because its answer was lost, was taken.
      const earlier = upload.state === 'completed' ? await findEarlier(session, idempotency, nowMs) : null;
      if (earlier === null) return { outcome: 'not_pending' };
      const { recordId, createdAtMs } = earlier;
      return { outcome: 'replayed', record: { ...part, id: recordId, createdAtMs } };
    }
    const parts = await listParts(session, upload.id);
    const stored = parts.reduce((sum, { bytes }) => sum + bytes, 0);
    if (stored + part.bytes > maxBytes) return { outcome: 'too_much' };
    return await createOnce(session, {
      claim: idempotency,
      recordId: part.id,
      nowMs,
      find: async (id) => parts.find((candidate) => candidate.id === id) ?? null,
      create: async () => {
        await session.db.insertInto('upload_part').values(toPartRow(part)).execute();
        return part;
      },
    });
  });
}

async function endUpload(
  database: Database,
  params: Parameters<UploadLedger['endUpload']>[0],
): ReturnType<UploadLedger['endUpload']> {
  return database.transaction(async (session) => {
    const upload = await lockUpload(session, params);
    if (upload === null) return null;
    if (upload.state !== 'pending') return { upload, blobKeys: [] };
    const { state, fileId } = params;
    await session.db
      .updateTable('upload')
      .set({ state, file_id: fileId })
      .where('id', '=', upload.id)
      .execute();
    return { upload: { ...upload, state, fileId }, blobKeys: await dropParts(session, [upload.id]) };
  });
}

async function expireUploads(
  database: Database,
  params: Parameters<UploadLedger['expireUploads']>[0],
): Promise<string[]> {
  return database.transaction(async (session) => {
    const { db, locksRows } = session;
    const rows = await db
      .selectFrom('upload')
      .select('id')
      .where('state', '=', 'pending')
      .where('expires_at', '<=', params.nowMs)
      .orderBy('expires_at')
      .limit(params.limit)
      .$if(locksRows, (query) => query.forUpdate().skipLocked())
      .execute();
    const ids = rows.map(({ id }) => id);
    if (ids.length === 0) return [];
    await db.updateTable('upload').set({ state: 'expired' }).where('id', 'in', ids).execute();
    return await dropParts(session, ids);
  });
}

async function dropParts({ db }: Session, uploadIds: readonly string[]): Promise<string[]> {
  const rows = await db
    .selectFrom('upload_part')
    .select('blob_key')
    .where('upload_id', 'in', uploadIds)
    .execute();
  await db.deleteFrom('upload_part').where('upload_id', 'in', uploadIds).execute();
  return rows.map((row) => row.blob_key);
}

function toRow(upload: UploadRecord): Insertable<UploadTable> {
  return {
    id: upload.id,
    project_id: upload.projectId,
    state: upload.state,
    filename: upload.filename,
    purpose: upload.purpose,
    mime_type: upload.mimeType,
    bytes: upload.bytes,
    file_expires_after: upload.fileExpiresAfterSeconds,
    file_id: upload.fileId,
    created_at: upload.createdAtMs,
    expires_at: upload.expiresAtMs,
  };
}

function toRecord(row: Selectable<UploadTable>): UploadRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    state: row.state,
    filename: row.filename,
    purpose: row.purpose,
    mimeType: row.mime_type,
    bytes: row.bytes,
    fileExpiresAfterSeconds: row.file_expires_after,
    fileId: row.file_id,
    createdAtMs: row.created_at,
    expiresAtMs: row.expires_at,
  };
}

function toPartRow(part: UploadPartRecord): Insertable<UploadPartTable> {
  return {
    id: part.id,
    upload_id: part.uploadId,
    bytes: part.bytes,
    blob_key: part.blobKey,
    created_at: part.createdAtMs,
  };
}

function toPartRecord(row: Selectable<UploadPartTable>): UploadPartRecord {
  return {
    id: row.id,
    uploadId: row.upload_id,
    bytes: row.bytes,
    blobKey: row.blob_key,
    createdAtMs: row.created_at,
  };
}
