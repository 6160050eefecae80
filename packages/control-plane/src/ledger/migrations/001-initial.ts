import type { CreateTableBuilder, Kysely } from 'kysely';
import { sql } from 'kysely';

/** The first schema. Written once: a change of the schema is a new file. */
export async function createInitialSchema(db: Kysely<unknown>, maskType: 'blob' | 'bytea'): Promise<void> {
  const mask = maskType === 'blob' ? sql`blob` : sql`bytea`;
  const schema = db.schema;

  await schema
    .createTable('project')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();

  await schema
    .createTable('api_key')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('project_id', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull())
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .execute();
  await schema.createIndex('api_key_project').on('api_key').columns(['project_id', 'created_at']).execute();

  await schema
    .createTable('file')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('project_id', 'text', (column) => column.notNull())
    .addColumn('purpose', 'text', (column) => column.notNull())
    .addColumn('filename', 'text', (column) => column.notNull())
    .addColumn('bytes', 'bigint', (column) => column.notNull())
    .addColumn('sha256', 'text')
    .addColumn('blob_key', 'text', (column) => column.notNull())
    .addColumn('internal', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('summary', 'text')
    .execute();
  await schema.createIndex('file_list').on('file').columns(['project_id', 'created_at', 'id']).execute();
  await schema.createIndex('file_expiry').on('file').column('expires_at').execute();
  await schema.createIndex('file_blob').on('file').column('blob_key').execute();

  await jobColumns(schema.createTable('job')).execute();
  await schema.createIndex('job_list').on('job').columns(['project_id', 'created_at', 'id']).execute();
  await schema.createIndex('job_state').on('job').columns(['state', 'expires_at']).execute();
  await schema.createIndex('job_input').on('job').column('input_file_id').execute();

  await schema
    .createTable('shard')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('job_id', 'text', (column) => column.notNull())
    .addColumn('project_id', 'text', (column) => column.notNull())
    .addColumn('ordinal', 'integer', (column) => column.notNull())
    .addColumn('first_item', 'integer', (column) => column.notNull())
    .addColumn('items', 'integer', (column) => column.notNull())
    .addColumn('byte_offset', 'bigint', (column) => column.notNull())
    .addColumn('bytes', 'bigint', (column) => column.notNull())
    .addColumn('skip_items', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('priority_rank', 'integer', (column) => column.notNull())
    .addColumn('job_created_at', 'bigint', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull().defaultTo('ready'))
    .addColumn('epoch', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('done_mask', mask)
    .addColumn('bad_mask', mask)
    .addColumn('done_items', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('lost_leases', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('runner_id', 'text')
    .addColumn('lease_until', 'bigint')
    .addColumn('offered_at', 'bigint')
    .execute();
  // Ready shards of a model in the order in which they are offered.
  await schema
    .createIndex('shard_lane')
    .on('shard')
    .columns(['state', 'model', 'priority_rank', 'job_created_at', 'job_id', 'ordinal', 'first_item'])
    .execute();
  await schema.createIndex('shard_lease').on('shard').columns(['state', 'lease_until']).execute();
  await schema.createIndex('shard_offer').on('shard').columns(['state', 'offered_at']).execute();
  await schema
    .createIndex('shard_job_state')
    .on('shard')
    .columns(['job_id', 'state', 'ordinal', 'first_item'])
    .execute();
  await schema.createIndex('shard_job').on('shard').columns(['job_id', 'ordinal', 'first_item']).execute();

  await schema
    .createTable('segment')
    .addColumn('job_id', 'text', (column) => column.notNull())
    .addColumn('sequence', 'bigint', (column) => column.notNull())
    .addColumn('shard_id', 'text', (column) => column.notNull())
    .addColumn('ordinal', 'integer', (column) => column.notNull())
    .addColumn('blob_key', 'text', (column) => column.notNull())
    .addColumn('bytes', 'bigint', (column) => column.notNull())
    .addColumn('first_item', 'integer', (column) => column.notNull())
    .addColumn('decided', mask)
    .addColumn('items', 'integer', (column) => column.notNull())
    .addColumn('input_tokens', 'bigint', (column) => column.notNull())
    .addColumn('cached_input_tokens', 'bigint', (column) => column.notNull())
    .addColumn('output_tokens', 'bigint', (column) => column.notNull())
    .addColumn('reasoning_tokens', 'bigint', (column) => column.notNull())
    .addColumn('settled_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('segment_pk', ['job_id', 'sequence'])
    .execute();
  await schema
    .createIndex('segment_ordinal')
    .on('segment')
    .columns(['job_id', 'ordinal', 'sequence'])
    .execute();
  await schema.createIndex('segment_settled').on('segment').columns(['job_id', 'settled_at']).execute();
  await schema.createIndex('segment_blob').on('segment').column('blob_key').execute();

  await schema
    .createTable('idempotency')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('project_id', 'text', (column) => column.notNull())
    .addColumn('route', 'text', (column) => column.notNull())
    .addColumn('idempotency_key', 'text')
    .addColumn('fingerprint', 'text', (column) => column.notNull())
    .addColumn('record_id', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
  // Nulls are distinct in both databases: creates without a key never collide here.
  await schema
    .createIndex('idempotency_key')
    .unique()
    .on('idempotency')
    .columns(['project_id', 'route', 'idempotency_key'])
    .execute();
  await schema
    .createIndex('idempotency_content')
    .on('idempotency')
    .columns(['project_id', 'route', 'fingerprint', 'created_at'])
    .execute();
  await schema.createIndex('idempotency_age').on('idempotency').column('created_at').execute();

  await schema
    .createTable('runner')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('report', 'text', (column) => column.notNull())
    .addColumn('last_seen_at', 'bigint', (column) => column.notNull())
    .execute();

  await schema
    .createTable('meta')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('value', 'bigint', (column) => column.notNull())
    .execute();
}

function jobColumns(table: CreateTableBuilder<'job', never>) {
  return table
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('project_id', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('dialect', 'text', (column) => column.notNull())
    .addColumn('input_file_id', 'text', (column) => column.notNull())
    .addColumn('input_blob_key', 'text', (column) => column.notNull())
    .addColumn('priority', 'text', (column) => column.notNull())
    .addColumn('completion_window', 'text', (column) => column.notNull())
    .addColumn('total', 'integer', (column) => column.notNull())
    .addColumn('succeeded', 'integer', (column) => column.notNull())
    .addColumn('failed', 'integer', (column) => column.notNull())
    .addColumn('cancelled', 'integer', (column) => column.notNull())
    .addColumn('expired', 'integer', (column) => column.notNull())
    .addColumn('input_tokens', 'bigint', (column) => column.notNull())
    .addColumn('cached_input_tokens', 'bigint', (column) => column.notNull())
    .addColumn('output_tokens', 'bigint', (column) => column.notNull())
    .addColumn('reasoning_tokens', 'bigint', (column) => column.notNull())
    .addColumn('max_error_rate', 'double precision')
    .addColumn('end_reason', 'text')
    .addColumn('excluded', 'integer', (column) => column.notNull().defaultTo(0))
    .addColumn('excluded_reason', 'text')
    .addColumn('output_file_id', 'text')
    .addColumn('error_file_id', 'text')
    .addColumn('version', 'bigint', (column) => column.notNull())
    .addColumn('ordinals', 'integer')
    .addColumn('segment_sequence', 'bigint', (column) => column.notNull().defaultTo(0))
    .addColumn('finalize_owner', 'text')
    .addColumn('finalize_until', 'bigint')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('queued_at', 'bigint')
    .addColumn('started_at', 'bigint')
    .addColumn('finalizing_at', 'bigint')
    .addColumn('cancelling_at', 'bigint')
    .addColumn('finished_at', 'bigint')
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addColumn('models', 'text', (column) => column.notNull())
    .addColumn('labels', 'text', (column) => column.notNull())
    .addColumn('error_groups', 'text', (column) => column.notNull())
    .addColumn('input_errors', 'text', (column) => column.notNull())
    .addColumn('options', 'text', (column) => column.notNull());
}
