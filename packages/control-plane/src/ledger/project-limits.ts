import type { Selectable } from 'kysely';
import { NO_LIMITS, type ProjectLimits, type ProjectLimitsLedger } from '../ports/project-limits.js';
import { admissionOf, hasBudget, markHeldBack, openWork } from './admission.js';
import type { Database, Session, TransactionSession } from './dialect.js';
import { takeRequests } from './request-budget.js';
import type { ProjectLimitsTable } from './schema.js';

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
      // Without a budget nothing waits for one; with another one, the next look at the work says what does.
      if (!hasBudget(limits)) {
        await session.db
          .updateTable('job')
          .set({ held_back: null })
          .where('project_id', '=', projectId)
          .where('held_back', 'is not', null)
          .execute();
      }
      return limits;
    }),
  budgetOf: async ({ jobId }) => {
    const job = await database.db
      .selectFrom('job')
      .select(['project_id', 'state', 'total', 'paused_at'])
      .where('id', '=', jobId)
      .executeTakeFirst();
    if (job === undefined || job.total <= 1 || job.paused_at !== null) return null;
    if (job.state !== 'queued' && job.state !== 'running') return null;
    const limits = await findLimits(database, job.project_id);
    if (!hasBudget(limits)) return null;
    const budget = (await admissionOf(database, job.project_id, limits)).budgetOf(jobId);
    return budget === null ? null : { budget, limits };
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

/**
 * Marks the jobs that wait for a budget of their project: nothing of them is offered. Few projects have budgets.
 */
export async function markJobsOverBudget(session: TransactionSession): Promise<void> {
  const rows = await session.db
    .selectFrom('project_limits')
    .selectAll()
    .where(({ or, eb }) =>
      or([eb('max_running_jobs', 'is not', null), eb('max_queued_tokens', 'is not', null)]),
    )
    .execute();
  for (const row of rows) await markHeldBack(session, row.project_id, toLimits(row));
}

const MINUTE_MS = 60_000;

async function budgetUse(
  database: Database,
  { projectId, nowMs }: Parameters<ProjectLimitsLedger['budgetUse']>[0],
): ReturnType<ProjectLimitsLedger['budgetUse']> {
  const limits = await findLimits(database, projectId);
  const settled = await settledTokens(database, projectId, nowMs - MINUTE_MS);
  if (!hasBudget(limits)) {
    const { jobs, tokens } = await openWork(database, projectId);
    return { runningJobs: jobs, queuedTokens: Math.ceil(tokens), settledTokens: settled };
  }
  // Its tokens are told also where only the number of jobs is limited.
  const told = { ...limits, maxQueuedTokens: limits.maxQueuedTokens ?? Number.POSITIVE_INFINITY };
  const { admitted } = await admissionOf(database, projectId, told);
  return {
    runningJobs: admitted.length,
    queuedTokens: Math.ceil(admitted.reduce((sum, { tokensLeft }) => sum + tokensLeft, 0)),
    settledTokens: settled,
  };
}

/** Of the jobs that have not ended and do not wait for a budget. */
async function settledTokens({ db }: Database, projectId: string, afterMs: number): Promise<number> {
  const row = await db
    .selectFrom('job')
    .innerJoin('segment', 'segment.job_id', 'job.id')
    .select(({ fn }) => [
      fn.sum<number | null>('segment.input_tokens').as('input'),
      fn.sum<number | null>('segment.output_tokens').as('output'),
    ])
    .where('job.project_id', '=', projectId)
    .where('job.state', 'in', ['queued', 'running'])
    .where('job.held_back', 'is', null)
    .where('job.paused_at', 'is', null)
    .where('job.total', '>', 1)
    .where('segment.settled_at', '>', afterMs)
    .executeTakeFirst();
  return (row?.input ?? 0) + (row?.output ?? 0);
}
