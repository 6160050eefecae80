import type { Kysely } from 'kysely';
import { sql } from 'kysely';

/** Jobs whose items run in another order than that of their input: their work file, and which item stands where in it. */
export async function addPlan({ schema }: Kysely<unknown>, bytesType: 'blob' | 'bytea'): Promise<void> {
  await schema.alterTable('job').addColumn('work_blob_key', 'text').execute();
  await schema.createIndex('job_work_blob').on('job').column('work_blob_key').execute();
  await schema
    .createTable('shard_order')
    .addColumn('job_id', 'text', (column) => column.notNull())
    .addColumn('ordinal', 'integer', (column) => column.notNull())
    .addColumn('first_item', 'integer', (column) => column.notNull())
    .addColumn('indexes', bytesType === 'blob' ? sql`blob` : sql`bytea`, (column) => column.notNull())
    .addPrimaryKeyConstraint('shard_order_pk', ['job_id', 'ordinal'])
    .execute();
}
