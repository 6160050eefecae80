import { sql } from 'kysely';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { Database } from './dialect.js';
import { NO_USAGE } from './job-rules.js';
import { toJobRecord } from './rows.js';
import { priorityRank } from './schema.js';
import { OPEN_STATES } from './states.js';

/** How jobs get on: what readers of a job that has not ended are told. */

export async function jobActivity(
  { db }: Database,
  params: Parameters<Ledger['jobActivity']>[0],
): ReturnType<Ledger['jobActivity']> {
  const running = await db
    .selectFrom('shard')
    .select((expression) => [
      expression.fn.sum<number | null>(expression('items', '-', expression.ref('done_items'))).as('items'),
      expression.fn.min<number | null>('leased_at').as('oldest_lease'),
    ])
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
    .where('items', '>', 0)
    .where('settled_at', '>', params.nowMs - params.windowMs)
    .executeTakeFirst();
  const ever = await db
    .selectFrom('segment')
    .select(({ fn }) => [
      fn.countAll<number>().as('segments'),
      fn.min<number | null>('settled_at').as('first'),
      fn.max<number | null>('settled_at').as('last'),
    ])
    .where('job_id', '=', params.jobId)
    // Answers that were taken over from earlier jobs say nothing about this one's pace.
    .where('items', '>', 0)
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
    oldestLeaseAtMs: running?.oldest_lease ?? null,
    lastSettledAtMs: ever?.last ?? null,
    settleIntervalMs: intervalOf(ever),
  };
}

/** Usual time between two segments of a job; `null` before its second. */
function intervalOf(
  ever: { segments: number; first: number | null; last: number | null } | undefined,
): number | null {
  if (ever === undefined || ever.first === null || ever.last === null || ever.segments < 2) return null;
  return (ever.last - ever.first) / (ever.segments - 1);
}

/**
 * Where a job stands: in its own project by priority, deadline and age, as the dispatcher goes; of other projects only
 * how many there are, since with them it takes turns.
 */
export async function queuePosition(
  { db }: Database,
  { jobId }: Parameters<Ledger['queuePosition']>[0],
): ReturnType<Ledger['queuePosition']> {
  const nothing = { jobsAhead: 0, itemsAhead: 0, otherProjects: 0, heldItems: 0, maxRunningItems: null };
  const job = await db
    .selectFrom('job')
    .select(['id', 'project_id', 'models', 'priority', 'created_at', 'expires_at'])
    .where('id', '=', jobId)
    .executeTakeFirst();
  const models: string[] = job === undefined ? [] : JSON.parse(job.models);
  if (job === undefined || models.length === 0) return nothing;
  const rank = priorityRank(job.priority);
  const waiting = db
    .selectFrom('shard')
    .innerJoin('job', 'job.id', 'shard.job_id')
    .where('shard.state', '=', 'ready')
    .where('shard.model', 'in', models)
    .where('shard.priority_rank', '<=', rank)
    .where('job.paused_at', 'is', null);
  const ahead = await waiting
    .select(({ fn, eb, ref }) => [
      fn.sum<number | null>(eb('shard.items', '-', ref('shard.done_items'))).as('items'),
      fn.count<number>('shard.job_id').distinct().as('jobs'),
    ])
    .where('shard.project_id', '=', job.project_id)
    .where(({ or, eb }) =>
      or([
        eb('shard.priority_rank', '<', rank),
        sql<boolean>`(job.expires_at, job.created_at, job.id) < (${job.expires_at}, ${job.created_at}, ${job.id})`,
      ]),
    )
    .executeTakeFirst();
  const others = await waiting
    .select(({ fn }) => fn.count<number>('shard.project_id').distinct().as('projects'))
    .where('shard.project_id', '!=', job.project_id)
    .executeTakeFirst();
  return {
    jobsAhead: ahead?.jobs ?? 0,
    itemsAhead: ahead?.items ?? 0,
    otherProjects: others?.projects ?? 0,
    ...(await projectCap(db, job.project_id)),
  };
}

async function projectCap(
  db: Database['db'],
  projectId: string,
): Promise<{ heldItems: number; maxRunningItems: number | null }> {
  const project = await db
    .selectFrom('project')
    .select('max_running_items')
    .where('id', '=', projectId)
    .executeTakeFirst();
  const maxRunningItems = project?.max_running_items ?? null;
  if (maxRunningItems === null) return { heldItems: 0, maxRunningItems };
  const held = await db
    .selectFrom('shard')
    .select(({ fn, eb, ref }) => fn.sum<number | null>(eb('items', '-', ref('done_items'))).as('items'))
    .where('project_id', '=', projectId)
    .where(({ or, and, eb }) =>
      or([eb('state', '=', 'leased'), and([eb('state', '=', 'ready'), eb('offered_at', 'is not', null)])]),
    )
    .executeTakeFirst();
  return { heldItems: held?.items ?? 0, maxRunningItems };
}

/** When a job last went on: from one state to the next. Segments are looked at apart. */
const wentOnAt = sql<number>`coalesce(job.finalizing_at, job.cancelling_at, job.started_at, job.queued_at, job.created_at)`;

export async function listSilent(
  { db }: Database,
  { sinceMs, perProject, limit }: Parameters<Ledger['listSilent']>[0],
): Promise<JobRecord[]> {
  const silent = db
    .selectFrom('job')
    .select(['job.id', wentOnAt.as('went_on_at')])
    .select(({ fn }) =>
      fn
        .agg<number>('row_number')
        .over((over) => over.partitionBy(['job.project_id', 'job.state']).orderBy(wentOnAt).orderBy('job.id'))
        .as('place'),
    )
    .where('job.state', 'in', OPEN_STATES)
    .where('job.held_back', 'is', null)
    .where('job.paused_at', 'is', null)
    .where(wentOnAt, '<', sinceMs)
    .where(({ or, eb, not, exists, selectFrom }) =>
      or([
        eb('job.state', '!=', 'running'),
        not(
          exists(
            selectFrom('segment')
              .select('segment.job_id')
              .whereRef('segment.job_id', '=', 'job.id')
              .where('segment.settled_at', '>=', sinceMs),
          ),
        ),
      ]),
    );
  const rows = await db
    .selectFrom(silent.as('silent'))
    .innerJoin('job', 'job.id', 'silent.id')
    .selectAll('job')
    .where('silent.place', '<=', perProject)
    .orderBy('silent.went_on_at')
    .limit(limit)
    .execute();
  return rows.map(toJobRecord);
}

export async function countOpenJobs({ db }: Database): ReturnType<Ledger['countOpenJobs']> {
  const rows = await db
    .selectFrom('job')
    .select([
      'state',
      isTrue('paused_at is not null').as('paused'),
      isTrue('held_back is not null').as('held'),
    ])
    .select(({ fn }) => [
      fn.countAll<number>().as('jobs'),
      fn.min<number>(sql`coalesce(paused_at, queued_at, created_at)`).as('since'),
    ])
    .where('state', 'in', OPEN_STATES)
    .groupBy(['state', 'paused', 'held'])
    .execute();
  return rows.map(({ state, paused, held, jobs, since }) => {
    const canBeHeld = state === 'queued' || state === 'running';
    const isPaused = paused === 1 && (canBeHeld || state === 'validating');
    const wait = isPaused ? 'paused' : held === 1 && canBeHeld ? 'budget' : null;
    return { state, wait, jobs, sinceMs: since };
  });
}

const isTrue = (condition: string) => sql<number>`case when ${sql.raw(condition)} then 1 else 0 end`;
