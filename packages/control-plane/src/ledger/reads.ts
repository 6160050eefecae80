import type { LaneBacklog, Ledger } from '../ports/ledger.js';
import type { SegmentRecord, ShardRecord } from '../ports/records.js';
import type { Database } from './dialect.js';
import { toSegmentRecord, toShardRecord } from './rows.js';
import { CLAIMABLE, priorityOfRank } from './schema.js';
import { JOINED_ORDER } from './shard-order.js';

/** Segments of a job with the order of their items. */
const segmentsOf = ({ db }: Database, jobId: string) =>
  db
    .selectFrom('segment')
    .leftJoin('shard_order', (join) =>
      join
        .onRef('shard_order.job_id', '=', 'segment.job_id')
        .onRef('shard_order.ordinal', '=', 'segment.ordinal'),
    )
    .selectAll('segment')
    .select(JOINED_ORDER)
    .where('segment.job_id', '=', jobId);

export async function listSegments(
  database: Database,
  params: Parameters<Ledger['listSegments']>[0],
): Promise<SegmentRecord[]> {
  const rows = await segmentsOf(database, params.jobId)
    .where('segment.sequence', '>', params.afterSequence ?? 0)
    .orderBy('segment.sequence')
    .limit(params.limit)
    .execute();
  return rows.map(toSegmentRecord);
}

export async function listSegmentsByOrdinal(
  database: Database,
  params: Parameters<Ledger['listSegmentsByOrdinal']>[0],
): Promise<SegmentRecord[]> {
  const rows = await segmentsOf(database, params.jobId)
    .where('segment.ordinal', '>=', params.fromOrdinal)
    .where('segment.ordinal', '<', params.toOrdinal)
    .orderBy('segment.ordinal')
    .orderBy('segment.sequence')
    .execute();
  return rows.map(toSegmentRecord);
}

export async function listShards(
  { db }: Database,
  params: Parameters<Ledger['listShards']>[0],
): Promise<ShardRecord[]> {
  const rows = await db
    .selectFrom('shard')
    .leftJoin('shard_order', (join) =>
      join
        .onRef('shard_order.job_id', '=', 'shard.job_id')
        .onRef('shard_order.ordinal', '=', 'shard.ordinal'),
    )
    .selectAll('shard')
    .select(JOINED_ORDER)
    .where('shard.job_id', '=', params.jobId)
    .where('shard.ordinal', '>=', params.fromOrdinal)
    .where('shard.ordinal', '<', params.toOrdinal)
    .where('shard.state', '!=', 'split')
    .orderBy('shard.ordinal')
    .orderBy('shard.first_item')
    .execute();
  return rows.map(toShardRecord);
}

export async function countOrdinals(
  { db }: Database,
  { jobId }: Parameters<Ledger['countOrdinals']>[0],
): Promise<number> {
  const row = await db.selectFrom('job').select('ordinals').where('id', '=', jobId).executeTakeFirst();
  return row?.ordinals ?? 0;
}

export async function backlog(
  { db }: Database,
  { models }: NonNullable<Parameters<Ledger['backlog']>[0]> = {},
): Promise<LaneBacklog[]> {
  if (models?.length === 0) return [];
  const rows = await db
    .selectFrom('shard')
    .select((expression) => [
      'model',
      'priority_rank',
      'state',
      expression.fn.countAll<number>().as('shards'),
      expression.fn.count<number>('offered_at').as('offered'),
      expression.fn.sum<number>(expression('items', '-', expression.ref('done_items'))).as('items'),
    ])
    .where('state', 'in', [...CLAIMABLE, 'leased'])
    .$if(models !== undefined, (query) => query.where('model', 'in', models ?? []))
    .groupBy(['model', 'priority_rank', 'state'])
    .execute();
  const lanes = new Map<string, { -readonly [Key in keyof LaneBacklog]: LaneBacklog[Key] }>();
  for (const row of rows) {
    const priority = priorityOfRank(row.priority_rank);
    const key = `${priority}/${row.model}`;
    const lane = lanes.get(key) ?? {
      model: row.model,
      priority,
      readyShards: 0,
      offeredShards: 0,
      leasedShards: 0,
      readyItems: 0,
    };
    if (row.state === 'leased') lane.leasedShards += row.shards;
    else {
      lane.readyShards += row.shards;
      lane.offeredShards += row.offered;
      lane.readyItems += row.items;
    }
    lanes.set(key, lane);
  }
  return [...lanes.values()];
}
