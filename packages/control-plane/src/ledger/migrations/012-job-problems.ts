import type { Kysely } from 'kysely';

/**
 * What keeps a job from being planned or finalized; the ids of its items that were never run; and temporary objects
 * that somebody reads.
 */
export async function addJobProblems({ schema }: Kysely<unknown>): Promise<void> {
  const job = schema.alterTable('job');
  await job.addColumn('problem_code', 'text').execute();
  await job.addColumn('problem_message', 'text').execute();
  await job.addColumn('problem_since', 'bigint').execute();
  await job.addColumn('problem_tries', 'integer', (column) => column.notNull().defaultTo(0)).execute();
  await job.addColumn('problem_own_tries', 'integer', (column) => column.notNull().defaultTo(0)).execute();
  await job.addColumn('give_up_at', 'bigint').execute();
  await job.addColumn('ids_blob_key', 'text').execute();
  await schema.createIndex('job_ids_blob').on('job').column('ids_blob_key').execute();
  await schema
    .createTable('temporary_blob')
    .addColumn('blob_key', 'text', (column) => column.primaryKey())
    .addColumn('kept_until', 'bigint', (column) => column.notNull())
    .execute();
}
