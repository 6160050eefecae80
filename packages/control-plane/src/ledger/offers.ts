import { type ExpressionBuilder, type Selectable, sql } from 'kysely';
import type { Ledger, OfferPicker, OfferQueue } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import type { Database, Session } from './dialect.js';
import { toShardRecord } from './rows.js';
import { priorityRank, type Schema, type ShardTable } from './schema.js';

type TakeOffers = Parameters<Ledger['takeOffers']>[0];

export async function takeOffers(database: Database, params: TakeOffers): Promise<ShardRecord[]> {
  return database.transaction(async (session) => {
    const queues = await offerQueues(session, params);
    const picked = (params.pick ?? oldestFirst)(queues, params.limit).slice(0, params.limit);
    await markOffered(
      session,
      picked.map((shard) => shard.id),
      params.nowMs,
    );
    return picked.map((shard) => ({ ...shard, offeredAtMs: params.nowMs }));
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
  const jobs = await jobsToOffer(session, params);
  if (jobs.length === 0) return [];
  const held = await heldShards(session, params.staleBeforeMs);
  const shards = Map.groupBy(await nextShards(session, jobs, params), (shard) => shard.job_id);
  return jobs.flatMap((job) => {
    const next = (shards.get(job.id) ?? []).slice(0, params.limit);
    if (next.length === 0) return [];
    return {
      jobId: job.id,
      projectId: job.project_id,
      priority: job.priority,
      createdAtMs: job.created_at,
      held: held.get(job.id) ?? 0,
      shards: next.map(toShardRecord),
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

/** Open jobs with something to offer: the oldest `limit` of each project and priority. */
async function jobsToOffer({ db }: Session, params: TakeOffers) {
  const ranked = db
    .selectFrom((expression) =>
      expression
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
        .as('open_job'),
    )
    .selectAll()
    .select(({ fn }) =>
      fn
        .agg<number>('row_number')
        .over((over) => over.partitionBy(['project_id', 'priority']).orderBy('created_at').orderBy('id'))
        .as('place'),
    )
    .where('first_ordinal', 'is not', null);
  return db
    .selectFrom(ranked.as('ranked'))
    .select(['id', 'project_id', 'priority', 'created_at', 'first_ordinal'])
    .where('place', '<=', params.limit)
    .execute();
}

/** Jobs of one query for shards. */
const JOBS_AT_ONCE = 100;

/** Shards to offer of each job: those of the `limit` ordinals from its first one on. */
async function nextShards(
  { db, locksRows }: Session,
  jobs: readonly { id: string; first_ordinal: number | null }[],
  params: TakeOffers,
): Promise<Selectable<ShardTable>[]> {
  const shards: Selectable<ShardTable>[] = [];
  for (let start = 0; start < jobs.length; start += JOBS_AT_ONCE) {
    const chunk = jobs.slice(start, start + JOBS_AT_ONCE);
    const rows = await db
      .selectFrom('shard')
      .selectAll()
      .where(isOfferable(params))
      .where(({ eb, and, or }) =>
        or(
          chunk.map(({ id, first_ordinal: first }) =>
            and([
              eb('job_id', '=', id),
              eb('state', '=', 'ready'),
              eb('ordinal', '>=', first ?? 0),
              eb('ordinal', '<', (first ?? 0) + params.limit),
            ]),
          ),
        ),
      )
      // Shards that another dispatcher is about to offer are left to it.
      .$if(locksRows, (query) => query.forUpdate().skipLocked())
      .execute();
    shards.push(...rows);
  }
  return shards.sort((left, right) => left.ordinal - right.ordinal || left.first_item - right.first_item);
}

/** Shards that each job holds: leased, or offered and perhaps about to be claimed. Both are few. */
async function heldShards({ db }: Session, staleBeforeMs: number): Promise<Map<string, number>> {
  const leased = await db
    .selectFrom('shard')
    .select(({ fn }) => ['job_id', fn.countAll<number>().as('shards')])
    .where('state', '=', 'leased')
    .groupBy('job_id')
    .execute();
  const offered = await db
    .selectFrom('shard')
    .select(({ fn }) => ['job_id', fn.countAll<number>().as('shards')])
    .where('state', '=', 'ready')
    .where('offered_at', '>=', staleBeforeMs)
    .groupBy('job_id')
    .execute();
  const held = new Map<string, number>();
  for (const row of [...leased, ...offered]) held.set(row.job_id, (held.get(row.job_id) ?? 0) + row.shards);
  return held;
}

async function markOffered({ db }: Session, shardIds: readonly string[], offeredAtMs: number): Promise<void> {
  if (shardIds.length === 0) return;
  await db.updateTable('shard').set({ offered_at: offeredAtMs }).where('id', 'in', shardIds).execute();
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
