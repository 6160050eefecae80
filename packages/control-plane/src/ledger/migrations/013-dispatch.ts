import { type Kysely, sql } from 'kysely';

/**
 * What dispatch asks of each job at each look stands on its row: whether it waits for a budget, and its own limit of output
 * tokens. And the lanes that were made, with what is wrong with them.
 */
export async function addDispatch({ schema }: Kysely<unknown>): Promise<void> {
  const job = schema.alterTable('job');
  await job.addColumn('held_back', 'text').execute();
  await job.addColumn('max_output_tokens', 'bigint').execute();
  // Jobs that may be offered, without those that wait for a budget.
  await schema.createIndex('job_offer').on('job').columns(['state', 'held_back', 'project_id']).execute();
  // The jobs that a budget counts, in the order in which it lets them in.
  await schema
    .createIndex('job_admission')
    .on('job')
    .columns(['project_id', 'state', 'priority', 'expires_at', 'created_at', 'id'])
    .where(sql<boolean>`paused_at is null and total > 1`)
    .execute();
  await schema
    .createTable('lane')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('used_at', 'bigint', (column) => column.notNull())
    .addColumn('problem', 'text')
    .addColumn('problem_since', 'bigint')
    .execute();
}
