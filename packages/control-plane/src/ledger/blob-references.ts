import type { BlobReferenceLedger } from '../ports/blob-references.js';
import type { Database } from './dialect.js';

export function blobReferenceLedger(database: Database): BlobReferenceLedger {
  const { db } = database;
  return {
    isBlobReferenced: (params) => isBlobReferenced(database, params),
    listOtherBlobs: (params) => listOtherBlobs(database, params),
    keepTemporary: async ({ key, untilMs }) => {
      await db
        .insertInto('temporary_blob')
        .values({ blob_key: key, kept_until: untilMs })
        .onConflict((conflict) => conflict.column('blob_key').doUpdateSet({ kept_until: untilMs }))
        .execute();
    },
    releaseTemporary: async ({ key }) => {
      await db.deleteFrom('temporary_blob').where('blob_key', '=', key).execute();
    },
    forgetTemporary: async ({ nowMs }) => {
      await db.deleteFrom('temporary_blob').where('kept_until', '<=', nowMs).execute();
    },
  };
}

async function isBlobReferenced(
  { db }: Database,
  { key }: Parameters<BlobReferenceLedger['isBlobReferenced']>[0],
): Promise<boolean> {
  const file = await db
    .selectFrom('file')
    .select('id')
    .where('blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  if (file !== undefined) return true;
  const part = await db
    .selectFrom('upload_part')
    .select('id')
    .where('blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  if (part !== undefined) return true;
  // A work file holds its input's prompts: it is not kept when the input was deleted.
  const work = await db
    .selectFrom('job')
    .innerJoin('file', 'file.id', 'job.input_file_id')
    .select('job.id')
    .where('job.work_blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  if (work !== undefined) return true;
  const index = await db
    .selectFrom('reuse_index')
    .select('job_id')
    .where('blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  if (index !== undefined) return true;
  const ids = await db
    .selectFrom('job')
    .select('id')
    .where('ids_blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  if (ids !== undefined) return true;
  const temporary = await db
    .selectFrom('temporary_blob')
    .select('blob_key')
    .where('blob_key', '=', key)
    .executeTakeFirst();
  if (temporary !== undefined) return true;
  const segment = await db
    .selectFrom('segment')
    .select('job_id')
    .where('blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  return segment !== undefined;
}

async function listOtherBlobs(
  { db }: Database,
  { jobId, limit }: Parameters<BlobReferenceLedger['listOtherBlobs']>[0],
): Promise<string[]> {
  const segments = await db
    .selectFrom('segment')
    .innerJoin('job', 'job.id', 'segment.job_id')
    .select('segment.blob_key')
    .where('job.id', '!=', jobId)
    .orderBy('job.id', 'desc')
    .limit(limit)
    .execute();
  const files = await db
    .selectFrom('file')
    .select('blob_key')
    .where('id', '!=', ({ selectFrom }) =>
      selectFrom('job').select('input_file_id').where('job.id', '=', jobId),
    )
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
  return [...files, ...segments].map((row) => row.blob_key).slice(0, limit);
}
