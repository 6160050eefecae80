import type { Kysely } from 'kysely';

/** What projects may ask for at a time. */
export async function addProjectLimits({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('project_limits')
    .addColumn('project_id', 'text', (column) => column.primaryKey())
    .addColumn('requests_per_minute', 'integer')
    .addColumn('max_running_jobs', 'integer')
    .addColumn('max_queued_tokens', 'bigint')
    .execute();
}
