import type { Kysely } from 'kysely';

/** Jobs that are held back. */
export async function addPause({ schema }: Kysely<unknown>): Promise<void> {
  await schema.alterTable('job').addColumn('paused_at', 'bigint').execute();
}
