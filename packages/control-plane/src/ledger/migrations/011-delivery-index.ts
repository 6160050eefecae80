import type { Kysely } from 'kysely';

/** The log of a project's deliveries is read by id. */
export async function addDeliveryIndex({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createIndex('webhook_delivery_project_id')
    .on('webhook_delivery')
    .columns(['project_id', 'id'])
    .execute();
}
