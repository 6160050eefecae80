import type { Kysely } from 'kysely';

/** Weights and caps of projects, use and rotation of API keys, and since when a shard is leased. */
export async function addAccess(db: Kysely<unknown>, nowMs: number): Promise<void> {
  const { schema } = db;
  await schema
    .alterTable('project')
    .addColumn('weight', 'double precision', (column) => column.notNull().defaultTo(1))
    .execute();
  await schema.alterTable('project').addColumn('max_running_items', 'integer').execute();
  await schema.alterTable('api_key').addColumn('last_used_at', 'bigint').execute();
  await schema.alterTable('api_key').addColumn('rotated_to', 'text').execute();
  await schema.alterTable('shard').addColumn('leased_at', 'bigint').execute();
  await db
    .withTables<{ project: { id: string; name: string; created_at: number } }>()
    .insertInto('project')
    .values({ id: 'default', name: 'default', created_at: nowMs })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute();
}
