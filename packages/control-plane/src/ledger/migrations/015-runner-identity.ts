import type { Kysely } from 'kysely';

/**
 * Whose runner it is, and whose lease. The lease's key counts only at the epoch beside it: control planes that do not know
 * of it claim without writing it.
 */
export async function addRunnerIdentity({ schema }: Kysely<unknown>): Promise<void> {
  const runner = schema.alterTable('runner');
  await runner.addColumn('key_id', 'text').execute();
  await runner.addColumn('project_id', 'text').execute();
  const shard = schema.alterTable('shard');
  await shard.addColumn('holder_key_id', 'text').execute();
  await shard.addColumn('holder_epoch', 'integer').execute();
}
