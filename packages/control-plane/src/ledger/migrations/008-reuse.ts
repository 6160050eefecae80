import type { Kysely } from 'kysely';
import { sql } from 'kysely';

/** Jobs whose answers later ones may take over: the keys of their requests, and how many items took one over. */
export async function addReuse({ schema }: Kysely<unknown>, bytesType: 'blob' | 'bytea'): Promise<void> {
  await schema
    .alterTable('job')
    .addColumn('reused_items', 'integer', (column) => column.notNull().defaultTo(0))
    .execute();
  await schema
    .createTable('reuse_index')
    .addColumn('job_id', 'text', (column) => column.primaryKey())
    .addColumn('project_id', 'text', (column) => column.notNull())
    .addColumn('items', 'integer', (column) => column.notNull())
    .addColumn('keys', bytesType === 'blob' ? sql`blob` : sql`bytea`)
    .addColumn('blob_key', 'text')
    .execute();
  await schema
    .createIndex('reuse_index_project')
    .on('reuse_index')
    .columns(['project_id', 'job_id'])
    .execute();
  await schema.createIndex('reuse_index_blob').on('reuse_index').column('blob_key').execute();
}
