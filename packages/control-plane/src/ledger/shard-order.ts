import type { Insertable, Selectable } from 'kysely';
import type { NewShard } from '../ports/ledger.js';
import type { Session } from './dialect.js';
import type { JobTable, ShardOrderTable } from './schema.js';

/**
 * Which item of the input stands where in a work file: a row for each original shard of a planned job, written once and
 * read beside shards and segments, so that nobody outside of the ledger keeps it.
 */

/** Columns of `shard_order` as they are joined to rows of shards and segments; `null` for jobs in input order. */
export interface JoinedOrder {
  readonly order_first: number | null;
  readonly order_indexes: Uint8Array | null;
}

export const JOINED_ORDER = [
  'shard_order.first_item as order_first',
  'shard_order.indexes as order_indexes',
] as const;

/** Rows of one insert. */
const ROWS_AT_ONCE = 128;

export async function insertOrder(
  { db }: Session,
  jobId: string,
  shards: readonly NewShard[],
  order: Uint32Array,
): Promise<void> {
  const rows = shards.map(
    ({ first, count }, ordinal): Insertable<ShardOrderTable> => ({
      job_id: jobId,
      ordinal,
      first_item: first,
      indexes: toBytes(order.subarray(first, first + count)),
    }),
  );
  for (let start = 0; start < rows.length; start += ROWS_AT_ONCE) {
    await db
      .insertInto('shard_order')
      .values(rows.slice(start, start + ROWS_AT_ONCE))
      .execute();
  }
}

/** The order of a shard's items, where the job has one. */
export async function findOrder(
  { db }: Session,
  job: Pick<Selectable<JobTable>, 'id' | 'work_blob_key'>,
  ordinal: number,
): Promise<JoinedOrder | null> {
  if (job.work_blob_key === null) return null;
  const row = await db
    .selectFrom('shard_order')
    .select(JOINED_ORDER)
    .where('job_id', '=', job.id)
    .where('ordinal', '=', ordinal)
    .executeTakeFirst();
  return row ?? null;
}

/** Input indexes of the items from `first` on, at most `count` of them; nothing to be spread without an order. */
export function indexesFrom(
  order: Partial<JoinedOrder> | null,
  first: number,
  count = Number.POSITIVE_INFINITY,
): { indexes?: Uint32Array } {
  const { order_first: orderFirst, order_indexes: stored } = order ?? {};
  if (orderFirst === undefined || orderFirst === null || !stored) return {};
  const from = (first - orderFirst) * 4;
  const to = Math.min(stored.length, from + count * 4);
  const view = new DataView(stored.buffer, stored.byteOffset + from, Math.max(0, to - from));
  return {
    indexes: Uint32Array.from({ length: view.byteLength >> 2 }, (_, at) => view.getUint32(at * 4, true)),
  };
}

function toBytes(indexes: Uint32Array): Uint8Array {
  const bytes = Buffer.alloc(indexes.length * 4);
  indexes.forEach((index, at) => {
    bytes.writeUInt32LE(index, at * 4);
  });
  return bytes;
}
