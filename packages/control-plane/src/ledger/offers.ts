import { LIMITS } from '@batch-infer/contracts';
import { type ExpressionBuilder, type Selectable, sql } from 'kysely';
import type { Ledger, OfferPicker, OfferQueue } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import type { Database, Session } from './dialect.js';
import { toShardRecord } from './rows.js';
import { priorityOfRank, priorityRank, type Schema, type ShardTable } from './schema.js';

type TakeOffers = Parameters<Ledger['takeOffers']>[0];

export async function takeOffers(database: Database, params: TakeOffers): Promise<ShardRecord[]> {
  return database.transaction(async (session) => {
    const queues = await offerQueues(session, params);
    if (queues.length === 0) return [];
    const picked = (params.pick ?? oldestFirst)(queues, params.limit).slice(0, params.limit);
    return markOffered(session, picked, params);
  });
}

/** Highest priority first, then the oldest job, then by ordinal. */
const oldestFirst: OfferPicker = (queues, limit) =>
  queues
    .toSorted(
      (left, right) =>
        priorityRank(left.priority) - priorityRank(right.priority) ||
        left.createdAtMs - right.createdAtMs ||
        (left.jobId < right.jobId ? -1 : 1),
    )
    .flatMap((queue) => queue.shards)
    .slice(0, limit);

/**
 * The jobs that have shards to offer, each with its next ones. Of one project and priority the oldest `limit` jobs are
 * looked at: more could not be offered, and every project is seen however many jobs another has.
 */
async function offerQueues(session: Session, params: TakeOffers): Promise<OfferQueue[]> {
  const shards = await nextShards(session, params);
  if (shards.length === 0) return [];
  const held = await heldShards(session, params.staleBeforeMs);
  const suspectsHeld = [...held.values()].reduce((sum, { suspects }) => sum + suspects, 0);
  return [...Map.groupBy(shards, (shard) => shard.job_id).values()].flatMap((rows) => {
    const [first] = rows;
    if (first === undefined) return [];
    return {
      jobId: first.job_id,
      projectId: first.project_id,
      priority: priorityOfRank(first.priority_rank),
      createdAtMs: first.job_created_at,
      held: held.get(first.job_id)?.shards ?? 0,
      suspectsHeld,
      shards: rows
        .sort((left, right) => left.ordinal - right.ordinal || left.first_item - right.first_item)
        .slice(0, params.limit)
        .map(toShardRecord),
    };
  });
}

/** Never offered, or offered so long ago that the offer counts as lost. */
const isOfferable =
  ({ staleBeforeMs, models }: Pick<TakeOffers, 'staleBeforeMs' | 'models'>) =>
  ({ eb, and, or }: ExpressionBuilder<Schema, 'shard'>) =>
    and([
      eb('shard.state', '=', 'ready'),
      or([eb('shard.offered_at', 'is', null), eb('shard.offered_at', '<', staleBeforeMs)]),
      ...(models === undefined
        ? []
        : [models.length === 0 ? sql<boolean>`1 = 0` : eb('shard.model', 'in', models)]),
    ]);

/** Shards to offer of each of these jobs: those of the `limit` ordinals from its first one on. */
async function nextShards({ db }: Session, params: TakeOffers): Promise<Selectable<ShardTable>[]> {
  const openJobs = db
    .selectFrom('job')
    .select((job) => [
      'job.id',
      'job.project_id',
      'job.priority',
      'job.created_at',
      job
        .selectFrom('shard')
        .select('shard.ordinal')
        .whereRef('shard.job_id', '=', 'job.id')
        .where(isOfferable(params))
        .orderBy('shard.ordinal')
        .limit(1)
        .as('first_ordinal'),
    ])
    .where('job.state', 'in', ['queued', 'running'])
    .where('job.paused_at', 'is', null);
  const ranked = db
    .selectFrom(openJobs.as('open_job'))
    .select(['id', 'first_ordinal'])
    .select(({ fn }) =>
      fn
        .agg<number>('row_number')
        .over((over) => over.partitionBy(['project_id', 'priority']).orderBy('created_at').orderBy('id'))
        .as('place'),
    )
    .where('first_ordinal', 'is not', null);
  return db
    .selectFrom(ranked.as('ranked'))
    .innerJoin('shard', 'shard.job_id', 'ranked.id')
    .selectAll('shard')
    .where('ranked.place', '<=', params.limit)
    .where(isOfferable(params))
    .whereRef('shard.ordinal', '>=', 'ranked.first_ordinal')
    .where(({ eb, ref }) => eb('shard.ordinal', '<', eb(ref('ranked.first_ordinal'), '+', params.limit)))
    .execute();
}

interface Held {
  readonly shards: number;
  /** How many of them have lost so many leases that one of their items is suspected of it. */
  readonly suspects: number;
}

/** Shards that each job holds: leased, or offered and perhaps about to be claimed. Both are few. */
async function heldShards({ db }: Session, staleBeforeMs: number): Promise<Map<string, Held>> {
  const byJob = db
    .selectFrom('shard')
    .select(({ fn }) => [
      'job_id',
      fn.countAll<number>().as('shards'),
      fn.countAll<number>().filterWhere('lost_leases', '>=', LIMITS.lostLeasesBeforeBisection).as('suspects'),
    ])
    .groupBy('job_id');
  const leased = await byJob.where('state', '=', 'leased').execute();
  const offered = await byJob.where('state', '=', 'ready').where('offered_at', '>=', staleBeforeMs).execute();
  const held = new Map<string, Held>();
  for (const { job_id: jobId, shards, suspects } of [...leased, ...offered]) {
    const before = held.get(jobId) ?? { shards: 0, suspects: 0 };
    held.set(jobId, { shards: before.shards + shards, suspects: before.suspects + suspects });
  }
  return held;
}

/** Marks the picked shards, in their order; those that another dispatcher is just marking are left to it. */
async function markOffered(
  { db, locksRows }: Session,
  picked: readonly ShardRecord[],
  params: TakeOffers,
): Promise<ShardRecord[]> {
  if (picked.length === 0) return [];
  let ids = picked.map((shard) => shard.id);
  if (locksRows) {
    const mine = await db
      .selectFrom('shard')
      .select('shard.id')
      .where('shard.id', 'in', ids)
      .where(isOfferable({ staleBeforeMs: params.staleBeforeMs }))
      .orderBy('shard.id')
      .forUpdate()
      .skipLocked()
      .execute();
    ids = mine.map((shard) => shard.id);
    if (ids.length === 0) return [];
  }
  const marked = await db
    .updateTable('shard')
    .set({ offered_at: params.nowMs })
    .where('id', 'in', ids)
    .returning(['id', 'epoch'])
    .execute();
  const epochs = new Map(marked.map(({ id, epoch }) => [id, epoch]));
  return picked.flatMap((shard) => {
    const epoch = epochs.get(shard.id);
    return epoch === undefined ? [] : { ...shard, epoch, offeredAtMs: params.nowMs };
  });
}

export async function withdrawOffers(
  { db }: Database,
  { shardIds }: Parameters<Ledger['withdrawOffers']>[0],
): Promise<void> {
  if (shardIds.length === 0) return;
  await db
    .updateTable('shard')
    .set({ offered_at: null })
    .where('id', 'in', shardIds)
    .where('state', '=', 'ready')
    .execute();
}
