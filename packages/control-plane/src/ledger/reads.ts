import { sql } from 'kysely';
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
  { models, others }: NonNullable<Parameters<Ledger['backlog']>[0]> = {},
): Promise<LaneBacklog[]> {
  if (models?.length === 0 && others === undefined) return [];
  const named = models ?? [];
  const folds = others !== undefined;
  const model = !folds
    ? sql<string>`shard.model`
    : named.length === 0
      ? sql<string>`${sql.lit(others)}`
      : sql<string>`case when shard.model in (${sql.join(named)}) then shard.model else ${sql.lit(others)} end`;
  const hold = sql<string>`case when job.paused_at is not null then 'paused'
    when job.held_back is not null then 'budget' else 'none' end`;
  const counted = db
    .selectFrom('shard')
    .innerJoin('job', 'job.id', 'shard.job_id')
    .select([
      model.as('model'),
      hold.as('hold'),
      'shard.priority_rank',
      'shard.state',
      'shard.offered_at',
      'shard.items',
      'shard.done_items',
    ])
    .where('shard.state', 'in', [...CLAIMABLE, 'leased'])
    .$if(models !== undefined && !folds, (query) => query.where('shard.model', 'in', named));
  const rows = await db
    .selectFrom(counted.as('counted'))
    .select((expression) => [
      'model',
      'priority_rank',
      'state',
      'hold',
      expression.fn.countAll<number>().as('shards'),
      expression.fn.count<number>('offered_at').as('offered'),
      expression.fn.sum<number>(expression('items', '-', expression.ref('done_items'))).as('items'),
    ])
    .groupBy(['model', 'priority_rank', 'state', 'hold'])
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
      pausedShards: 0,
      budgetShards: 0,
    };
    if (row.state === 'leased') lane.leasedShards += row.shards;
    else {
      // An offer that was made before the job was held stands all the same.
      lane.offeredShards += row.offered;
      if (row.hold === 'paused') lane.pausedShards += row.shards;
      else if (row.hold === 'budget') lane.budgetShards += row.shards;
      else {
        lane.readyShards += row.shards;
        lane.readyItems += row.items;
      }
    }
    lanes.set(key, lane);
  }
  return [...lanes.values()];
}
