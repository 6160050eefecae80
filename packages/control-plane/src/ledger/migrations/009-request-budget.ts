import type { Kysely } from 'kysely';

/** Requests that projects have made lately, counted over all control planes. */
export async function addRequestBudget({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('request_budget')
    .addColumn('project_id', 'text', (column) => column.primaryKey())
    .addColumn('full_at_us', 'bigint', (column) => column.notNull())
    .execute();
}
