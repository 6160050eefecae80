import type { LaneBacklog, Ledger } from '../ports/ledger.js';
import type { SegmentRecord, ShardRecord } from '../ports/records.js';
import type { Database } from './dialect.js';
import { NO_USAGE } from './job-rules.js';
import { toSegmentRecord, toShardRecord } from './rows.js';
import { CLAIMABLE, priorityOfRank, priorityRank } from './schema.js';
import { JOINED_ORDER } from './shard-order.js';

export async function listSegments(
  { db }: Database,
  params: Parameters<Ledger['listSegments']>[0],
): Promise<SegmentRecord[]> {
  const rows = await db
    .selectFrom('segment')
    .leftJoin('shard_order', (join) =>
      join
        .onRef('shard_order.job_id', '=', 'segment.job_id')
        .onRef('shard_order.ordinal', '=', 'segment.ordinal'),
    )
    .selectAll('segment')
    .select(JOINED_ORDER)
    .where('segment.job_id', '=', params.jobId)
    .where('segment.sequence', '>', params.afterSequence ?? 0)
    .orderBy('segment.sequence')
    .limit(params.limit)
    .execute();
  return rows.map(toSegmentRecord);
}

export async function listSegmentsByOrdinal(
  { db }: Database,
  params: Parameters<Ledger['listSegmentsByOrdinal']>[0],
): Promise<SegmentRecord[]> {
  const rows = await db
    .selectFrom('segment')
    .leftJoin('shard_order', (join) =>
      join
        .onRef('shard_order.job_id', '=', 'segment.job_id')
        .onRef('shard_order.ordinal', '=', 'segment.ordinal'),
    )
    .selectAll('segment')
    .select(JOINED_ORDER)
    .where('segment.job_id', '=', params.jobId)
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

export async function jobActivity(
  { db }: Database,
  params: Parameters<Ledger['jobActivity']>[0],
): ReturnType<Ledger['jobActivity']> {
  const running = await db
    .selectFrom('shard')
    .select((expression) =>
      expression.fn.sum<number | null>(expression('items', '-', expression.ref('done_items'))).as('items'),
    )
    .where('job_id', '=', params.jobId)
    .where('state', '=', 'leased')
    .executeTakeFirst();
  const settled = await db
    .selectFrom('segment')
    .select(({ fn }) => [
      fn.sum<number | null>('items').as('items'),
      fn.sum<number | null>('input_tokens').as('input_tokens'),
      fn.sum<number | null>('cached_input_tokens').as('cached_input_tokens'),
      fn.sum<number | null>('output_tokens').as('output_tokens'),
      fn.sum<number | null>('reasoning_tokens').as('reasoning_tokens'),
      fn.min<number | null>('settled_at').as('oldest'),
    ])
    .where('job_id', '=', params.jobId)
    .where('settled_at', '>', params.nowMs - params.windowMs)
    .executeTakeFirst();
  return {
    runningItems: running?.items ?? 0,
    settledItems: settled?.items ?? 0,
    settledUsage: {
      inputTokens: settled?.input_tokens ?? NO_USAGE.inputTokens,
      cachedInputTokens: settled?.cached_input_tokens ?? NO_USAGE.cachedInputTokens,
      outputTokens: settled?.output_tokens ?? NO_USAGE.outputTokens,
      reasoningTokens: settled?.reasoning_tokens ?? NO_USAGE.reasoningTokens,
    },
    oldestSettledAtMs: settled?.oldest ?? null,
  };
}

export async function queuePosition(
  { db }: Database,
  { jobId }: Parameters<Ledger['queuePosition']>[0],
): ReturnType<Ledger['queuePosition']> {
  const job = await db
    .selectFrom('job')
    .select(['models', 'priority', 'created_at'])
    .where('id', '=', jobId)
    .executeTakeFirst();
  const models: string[] = job === undefined ? [] : JSON.parse(job.models);
  if (job === undefined || models.length === 0) return { jobsAhead: 0, itemsAhead: 0 };
  const rank = priorityRank(job.priority);
  const row = await db
    .selectFrom('shard')
    .select((expression) => [
      expression.fn.sum<number | null>(expression('items', '-', expression.ref('done_items'))).as('items'),
      expression.fn.count<number>('job_id').distinct().as('jobs'),
    ])
    .where('state', '=', 'ready')
    .where('model', 'in', models)
    .where('job_id', 'not in', (expression) =>
      expression.selectFrom('job').select('job.id').where('job.paused_at', 'is not', null),
    )
    .where((expression) =>
      expression.or([
        expression('priority_rank', '<', rank),
        expression.and([
          expression('priority_rank', '=', rank),
          expression.or([
            expression('job_created_at', '<', job.created_at),
            expression.and([
              expression('job_created_at', '=', job.created_at),
              expression('job_id', '<', jobId),
            ]),
          ]),
        ]),
      ]),
    )
    .executeTakeFirst();
  return { jobsAhead: row?.jobs ?? 0, itemsAhead: row?.items ?? 0 };
}

export async function backlog({ db }: Database): Promise<LaneBacklog[]> {
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

export async function isBlobReferenced(
  { db }: Database,
  { key }: Parameters<Ledger['isBlobReferenced']>[0],
): Promise<boolean> {
  const file = await db
    .selectFrom('file')
    .select('id')
    .where('blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  if (file !== undefined) return true;
  const part = await db
    .selectFrom('upload_part')
    .select('id')
    .where('blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  if (part !== undefined) return true;
  // A work file holds its input's prompts: it is not kept when the input was deleted.
  const work = await db
    .selectFrom('job')
    .innerJoin('file', 'file.id', 'job.input_file_id')
    .select('job.id')
    .where('job.work_blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  if (work !== undefined) return true;
  const segment = await db
    .selectFrom('segment')
    .select('job_id')
    .where('blob_key', '=', key)
    .limit(1)
    .executeTakeFirst();
  return segment !== undefined;
}
