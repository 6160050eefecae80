import { LIMITS } from '@batch-infer/contracts';
import { type ExpressionBuilder, type Selectable, sql } from 'kysely';
import type { Ledger, OfferPicker, OfferQueue, ProjectLoad } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import type { Database, Session } from './dialect.js';
import { ranItems } from './job-rules.js';
import { markJobsOverBudget } from './project-limits.js';
import { toShardRecord } from './rows.js';
import { type JobTable, priorityOfRank, priorityRank, type Schema, type ShardTable } from './schema.js';

type TakeOffers = Parameters<Ledger['takeOffers']>[0];

export async function takeOffers(database: Database, params: TakeOffers): Promise<ShardRecord[]> {
  return database.transaction(async (session) => {
    await markJobsOverBudget(session);
    const queues = await offerQueues(session, params);
    if (queues.length === 0) return [];
    const picked = (params.pick ?? oldestFirst)(queues, params.limit).slice(0, params.limit);
    return markOffered(session, picked, params);
  });
}

/** Highest priority first, then the earliest deadline, the oldest job, by ordinal. */
const oldestFirst: OfferPicker = (queues, limit) =>
  queues
    .toSorted(
      (left, right) =>
        priorityRank(left.priority) - priorityRank(right.priority) ||
        left.expiresAtMs - right.expiresAtMs ||
        left.createdAtMs - right.createdAtMs ||
        (left.jobId < right.jobId ? -1 : 1),
    )
    .flatMap((queue) => queue.shards)
    .slice(0, limit);

/**
 * The jobs that have shards to offer, each with its next ones. Of one project and priority the `limit` jobs with the
 * earliest deadlines are looked at: more could not be offered, and every project is seen however many jobs another has.
 */
async function offerQueues(session: Session, params: TakeOffers): Promise<OfferQueue[]> {
  const shards = await nextShards(session, params);
  if (shards.length === 0) return [];
  const held = await heldShards(session, params.staleBeforeMs);
  const suspectsHeld = [...held.values()].reduce((sum, { suspects }) => sum + suspects, 0);
  const loads = await projectLoads(session, [...held.values()]);
  const jobs = [...Map.groupBy(shards, (shard) => shard.job_id).values()];
  const prior = outputPrior(jobs.flatMap(([first]) => first ?? []));
  return jobs.flatMap((rows) => {
    const [first] = rows;
    if (first === undefined) return [];
    return {
      jobId: first.job_id,
      projectId: first.project_id,
      priority: priorityOfRank(first.priority_rank),
      createdAtMs: first.job_created_at,
      expiresAtMs: first.expires_at,
      expectedOutputTokens: expectedOutputTokens(first, prior),
      held: held.get(first.job_id)?.shards ?? 0,
      project: loads(first.project_id),
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
  ({ staleBeforeMs, models, projectId }: Pick<TakeOffers, 'staleBeforeMs' | 'models' | 'projectId'>) =>
  ({ eb, and, or }: ExpressionBuilder<Schema, 'shard'>) =>
    and([
      eb('shard.state', '=', 'ready'),
      or([eb('shard.offered_at', 'is', null), eb('shard.offered_at', '<', staleBeforeMs)]),
      ...(models === undefined
        ? []
        : [models.length === 0 ? sql<boolean>`1 = 0` : eb('shard.model', 'in', models)]),
      ...(typeof projectId === 'string' ? [eb('shard.project_id', '=', projectId)] : []),
    ]);

/** What is asked of the job of a shard. */
type JobFacts = Pick<
  Selectable<JobTable>,
  'expires_at' | 'succeeded' | 'reused_items' | 'output_tokens' | 'max_output_tokens'
>;

/**
 * The next shards of each lane of a project: `limit` at most, since more could not be offered, of jobs in their order.
 * What is read is bounded by the lanes that have work, not by the jobs that wait in them.
 */
async function nextShards(
  { db }: Session,
  params: TakeOffers,
): Promise<(Selectable<ShardTable> & JobFacts)[]> {
  const openJobs = db
    .selectFrom('job')
    .select((job) => [
      'job.id',
      'job.project_id',
      'job.priority',
      'job.created_at',
      'job.expires_at',
      'job.succeeded',
      'job.reused_items',
      'job.output_tokens',
      'job.max_output_tokens',
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
    .where('job.held_back', 'is', null)
    .where('job.paused_at', 'is', null);
  const ranked = db
    .selectFrom(openJobs.as('open_job'))
    .selectAll('open_job')
    .select(({ fn }) =>
      fn
        .agg<number>('row_number')
        .over((over) =>
          over
            .partitionBy(['project_id', 'priority'])
            .orderBy('expires_at')
            .orderBy('created_at')
            .orderBy('id'),
        )
        .as('place'),
    )
    .where('first_ordinal', 'is not', null);
  const placed = db
    .selectFrom(ranked.as('ranked'))
    .innerJoin('shard', 'shard.job_id', 'ranked.id')
    .selectAll('shard')
    .select([
      'ranked.expires_at',
      'ranked.succeeded',
      'ranked.reused_items',
      'ranked.output_tokens',
      'ranked.max_output_tokens',
    ])
    .select(({ fn }) =>
      fn
        .agg<number>('row_number')
        .over((over) =>
          over
            .partitionBy(['shard.project_id', 'shard.priority_rank', 'shard.model'])
            .orderBy('ranked.place')
            .orderBy('shard.ordinal')
            .orderBy('shard.first_item'),
        )
        .as('place_in_lane'),
    )
    .where('ranked.place', '<=', params.limit)
    .where(isOfferable(params))
    .whereRef('shard.ordinal', '>=', 'ranked.first_ordinal')
    .where(({ eb, ref }) => eb('shard.ordinal', '<', eb(ref('ranked.first_ordinal'), '+', params.limit)));
  return await db
    .selectFrom(placed.as('placed'))
    .selectAll('placed')
    .where('place_in_lane', '<=', params.limit)
    .execute();
}

/** Before this many items have succeeded, their tokens say little of the rest. */
const TELLING_ITEMS = 20;
/** Output tokens of an item when nothing is known of any. */
const OUTPUT_PRIOR = 256;

/**
 * What to expect of a job that has shown nothing yet: what the items of the others had. Beside jobs of known short
 * answers a fixed guess would make a newcomer seem many times as expensive, and keep it waiting.
 */
function outputPrior(jobs: readonly JobFacts[]): number {
  const telling = jobs.filter((job) => ranItems(job) >= TELLING_ITEMS);
  const items = telling.reduce((sum, job) => sum + ranItems(job), 0);
  return items === 0 ? OUTPUT_PRIOR : telling.reduce((sum, job) => sum + job.output_tokens, 0) / items;
}

function expectedOutputTokens(job: JobFacts, prior: number): number {
  if (ranItems(job) >= TELLING_ITEMS) return job.output_tokens / ranItems(job);
  return job.max_output_tokens === null ? prior : Math.min(job.max_output_tokens, prior);
}

/** What is known of each project: its row, where it has one, and what it holds. */
async function projectLoads(
  { db }: Session,
  held: readonly Held[],
): Promise<(projectId: string) => ProjectLoad> {
  const rows = await db.selectFrom('project').select(['id', 'weight', 'max_running_items']).execute();
  const byId = new Map(rows.map((row) => [row.id, row]));
  const heldItems = new Map<string, number>();
  for (const { projectId, items } of held) heldItems.set(projectId, (heldItems.get(projectId) ?? 0) + items);
  return (projectId) => ({
    weight: byId.get(projectId)?.weight ?? 1,
    maxRunningItems: byId.get(projectId)?.max_running_items ?? null,
    heldItems: heldItems.get(projectId) ?? 0,
  });
}

interface Held {
  readonly projectId: string;
  /** Items that have not ended. */
  readonly items: number;
  readonly shards: number;
  /** How many of them have lost so many leases that one of their items is suspected of it. */
  readonly suspects: number;
}

/** Shards that each job holds: leased, or offered and perhaps about to be claimed. Both are few. */
async function heldShards({ db }: Session, staleBeforeMs: number): Promise<Map<string, Held>> {
  const byJob = db
    .selectFrom('shard')
    .select((expression) => [
      'job_id',
      'project_id',
      expression.fn.countAll<number>().as('shards'),
      expression.fn.sum<number>(expression('items', '-', expression.ref('done_items'))).as('items'),
      expression.fn
        .countAll<number>()
        .filterWhere('lost_leases', '>=', LIMITS.lostLeasesBeforeBisection)
        .as('suspects'),
    ])
    .groupBy(['job_id', 'project_id']);
  const leased = await byJob.where('state', '=', 'leased').execute();
  const offered = await byJob.where('state', '=', 'ready').where('offered_at', '>=', staleBeforeMs).execute();
  const held = new Map<string, Held>();
  for (const { job_id: jobId, project_id: projectId, shards, items, suspects } of [...leased, ...offered]) {
    const before = held.get(jobId) ?? { shards: 0, items: 0, suspects: 0 };
    held.set(jobId, {
      projectId,
      shards: before.shards + shards,
      items: before.items + items,
      suspects: before.suspects + suspects,
    });
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
  database: Database,
  { shardIds }: Parameters<Ledger['withdrawOffers']>[0],
): Promise<void> {
  if (shardIds.length === 0) return;
  await database.transaction(async ({ db, locksRows }) => {
    // In the order of their ids, as all lock them that lock several.
    const offered = await db
      .selectFrom('shard')
      .select('id')
      .where('id', 'in', shardIds)
      .where('state', '=', 'ready')
      .orderBy('id')
      .$if(locksRows, (query) => query.forUpdate())
      .execute();
    if (offered.length === 0) return;
    await db
      .updateTable('shard')
      .set({ offered_at: null })
      .where(
        'id',
        'in',
        offered.map((row) => row.id),
      )
      .execute();
  });
}
