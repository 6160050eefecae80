import type { Selectable } from 'kysely';
import {
  type Budget,
  NO_LIMITS,
  type ProjectLimits,
  type ProjectLimitsLedger,
} from '../ports/project-limits.js';
import { type BudgetedJob, heldBack } from './budget-rules.js';
import type { Database, Session } from './dialect.js';
import { ranItems } from './job-rules.js';
import { takeRequests } from './request-budget.js';
import { type ProjectLimitsTable, priorityRank } from './schema.js';

export const projectLimitsLedger = (database: Database): ProjectLimitsLedger => ({
  getProjectLimits: ({ projectId }) => findLimits(database, projectId),
  setProjectLimits: ({ projectId, change }) =>
    database.transaction(async (session) => {
      const limits = { ...(await findLimits(session, projectId)), ...change };
      const columns = {
        requests_per_minute: limits.requestsPerMinute,
        max_running_jobs: limits.maxRunningJobs,
        max_queued_tokens: limits.maxQueuedTokens,
      };
      await session.db
        .insertInto('project_limits')
        .values({ project_id: projectId, ...columns })
        .onConflict((conflict) => conflict.column('project_id').doUpdateSet(columns))
        .execute();
      return limits;
    }),
  budgetOf: async ({ jobId }) => {
    const job = await database.db
      .selectFrom('job')
      .select('project_id')
      .where('id', '=', jobId)
      .executeTakeFirst();
    if (job === undefined) return null;
    const limits = await findLimits(database, job.project_id);
    if (!hasBudget(limits)) return null;
    const budget = (await heldBackOf(database, job.project_id, limits)).get(jobId);
    return budget === undefined ? null : { budget, limits };
  },
  budgetUse: (params) => budgetUse(database, params),
  takeRequests: takeRequests(database),
});

async function findLimits({ db }: Session, projectId: string): Promise<ProjectLimits> {
  const row = await db
    .selectFrom('project_limits')
    .selectAll()
    .where('project_id', '=', projectId)
    .executeTakeFirst();
  return row === undefined ? NO_LIMITS : toLimits(row);
}

const toLimits = (row: Selectable<ProjectLimitsTable>): ProjectLimits => ({
  requestsPerMinute: row.requests_per_minute,
  maxRunningJobs: row.max_running_jobs,
  maxQueuedTokens: row.max_queued_tokens,
});

const hasBudget = ({ maxRunningJobs, maxQueuedTokens }: ProjectLimits): boolean =>
  maxRunningJobs !== null || maxQueuedTokens !== null;

/** Jobs that wait for a budget of their project: nothing of them is offered. Few projects have budgets. */
export async function jobsOverBudget(session: Session): Promise<string[]> {
  const rows = await session.db
    .selectFrom('project_limits')
    .selectAll()
    .where(({ or, eb }) =>
      or([eb('max_running_jobs', 'is not', null), eb('max_queued_tokens', 'is not', null)]),
    )
    .execute();
  const held = await Promise.all(rows.map((row) => heldBackOf(session, row.project_id, toLimits(row))));
  return held.flatMap((jobs) => [...jobs.keys()]);
}

/** Tokens of an item's output when nothing is known of it, and bytes of input a token. */
const OUTPUT_PRIOR = 256;
const BYTES_PER_TOKEN = 4;

async function heldBackOf(
  session: Session,
  projectId: string,
  limits: ProjectLimits,
): Promise<Map<string, Budget>> {
  return heldBack(await budgetedJobs(session, projectId), limits);
}

/** What runs comes first, then as the dispatcher goes: by priority, deadline, age. */
async function budgetedJobs({ db }: Session, projectId: string): Promise<BudgetedJob[]> {
  const jobs = await db
    .selectFrom('job')
    .select([
      'id',
      'state',
      'priority',
      'total',
      'succeeded',
      'reused_items',
      'failed',
      'output_tokens',
      'expires_at',
      'created_at',
    ])
    .select(({ selectFrom }) =>
      selectFrom('shard')
        .select(({ fn }) => fn.sum<number | null>('shard.bytes').as('bytes'))
        .whereRef('shard.job_id', '=', 'job.id')
        .where('shard.state', 'in', ['ready', 'leased'])
        .as('bytes_left'),
    )
    .where('project_id', '=', projectId)
    .where('state', 'in', ['queued', 'running'])
    .where('paused_at', 'is', null)
    .execute();
  const ordered = jobs.toSorted(
    (left, right) =>
      Number(right.state === 'running') - Number(left.state === 'running') ||
      priorityRank(left.priority) - priorityRank(right.priority) ||
      left.expires_at - right.expires_at ||
      left.created_at - right.created_at ||
      (left.id < right.id ? -1 : 1),
  );
  return ordered.map((job) => {
    const output = ranItems(job) > 0 ? job.output_tokens / ranItems(job) : OUTPUT_PRIOR;
    const left = Math.max(0, job.total - job.succeeded - job.failed);
    const tokensLeft = (job.bytes_left ?? 0) / BYTES_PER_TOKEN + left * output;
    return { id: job.id, total: job.total, tokensLeft };
  });
}

const MINUTE_MS = 60_000;

async function budgetUse(
  database: Database,
  { projectId, nowMs }: Parameters<ProjectLimitsLedger['budgetUse']>[0],
): ReturnType<ProjectLimitsLedger['budgetUse']> {
  const limits = await findLimits(database, projectId);
  const jobs = await budgetedJobs(database, projectId);
  const held = heldBack(jobs, limits);
  const admitted = jobs.filter(({ id, total }) => total > 1 && !held.has(id));
  return {
    runningJobs: admitted.length,
    queuedTokens: Math.ceil(admitted.reduce((sum, { tokensLeft }) => sum + tokensLeft, 0)),
    settledTokens: await settledTokens(
      database,
      admitted.map(({ id }) => id),
      nowMs - MINUTE_MS,
    ),
  };
}

async function settledTokens({ db }: Database, jobIds: readonly string[], afterMs: number): Promise<number> {
  if (jobIds.length === 0) return 0;
  const row = await db
    .selectFrom('segment')
    .select(({ fn }) => [
      fn.sum<number | null>('input_tokens').as('input'),
      fn.sum<number | null>('output_tokens').as('output'),
    ])
    .where('job_id', 'in', jobIds)
    .where('settled_at', '>', afterMs)
    .executeTakeFirst();
  return (row?.input ?? 0) + (row?.output ?? 0);
}
