import { PRIORITIES } from '@batch-infer/contracts';
import { sql } from 'kysely';
import type { Budget, ProjectLimits } from '../ports/project-limits.js';
import { type BudgetedJob, heldBack } from './budget-rules.js';
import type { Session, TransactionSession } from './dialect.js';
import { ranItems } from './job-rules.js';
import { priorityRank } from './schema.js';

/** Which jobs the budgets of a project let run. The work is bounded, however many jobs wait. */

/** Jobs of a project looked at, in the order in which they are let in; those behind them wait. */
const LOOKED_AT = 1_000;

/** Tokens of an item's output when nothing is known of it, and bytes of input a token. */
const OUTPUT_PRIOR = 256;
const BYTES_PER_TOKEN = 4;

/** States of jobs that a budget counts. */
const COUNTED_STATES = ['running', 'queued'] as const;

export interface Admission {
  /** Jobs of more than one item that may run. */
  readonly admitted: readonly BudgetedJob[];
  /** For which budget a job waits, if it is one that a budget counts; `null` when it may run. */
  budgetOf(jobId: string): Budget | null;
}

interface Candidate extends BudgetedJob {
  readonly held: string | null;
}

export const hasBudget = ({ maxRunningJobs, maxQueuedTokens }: ProjectLimits): boolean =>
  maxRunningJobs !== null || maxQueuedTokens !== null;

export async function admissionOf(
  session: Session,
  projectId: string,
  limits: ProjectLimits,
): Promise<Admission> {
  return admit(await candidates(session, projectId, limits), limits);
}

function admit(jobs: readonly BudgetedJob[], limits: ProjectLimits): Admission {
  const held = heldBack(jobs, limits);
  const admitted = jobs.filter(({ id }) => !held.has(id));
  const ids = new Set(admitted.map(({ id }) => id));
  const { maxRunningJobs } = limits;
  const others: Budget =
    maxRunningJobs !== null && admitted.length >= maxRunningJobs ? 'running_jobs' : 'queued_tokens';
  return { admitted, budgetOf: (jobId) => (ids.has(jobId) ? null : (held.get(jobId) ?? others)) };
}

/** Marks the jobs of a project that wait for a budget, and those that no longer do. Writes only what changes. */
export async function markHeldBack(
  session: TransactionSession,
  projectId: string,
  limits: ProjectLimits,
): Promise<void> {
  const jobs = await candidates(session, projectId, limits);
  const { admitted, budgetOf } = admit(jobs, limits);
  const ids = admitted.map(({ id }) => id);
  const released = new Set(ids);
  const toRelease = jobs.filter(({ id, held }) => held !== null && released.has(id)).map(({ id }) => id);
  const { db } = session;
  if (toRelease.length > 0) {
    await db.updateTable('job').set({ held_back: null }).where('id', 'in', toRelease).execute();
  }
  await db
    .updateTable('job')
    .set({ held_back: budgetOf('') })
    .where('project_id', '=', projectId)
    .where('state', 'in', COUNTED_STATES)
    .where('held_back', 'is', null)
    .where(isCounted)
    .$if(ids.length > 0, (query) => query.where('id', 'not in', ids))
    .execute();
}

/** Literals, since the index `job_admission` is one of these rows only. */
const isCounted = sql<boolean>`paused_at is null and total > 1`;

/** What runs comes first, then as the dispatcher goes: by priority, deadline, age. */
async function candidates({ db }: Session, projectId: string, limits: ProjectLimits): Promise<Candidate[]> {
  const countsTokens = limits.maxQueuedTokens !== null;
  // A number of jobs is reached by as many; only tokens may pass one over for the sake of a smaller one.
  const limit = countsTokens
    ? LOOKED_AT
    : Math.min(LOOKED_AT, Math.max(1, limits.maxRunningJobs ?? LOOKED_AT));
  const parts = COUNTED_STATES.flatMap((state) =>
    PRIORITIES.map((priority) =>
      db
        .selectFrom((part) =>
          part
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
              'held_back',
            ])
            .where('project_id', '=', projectId)
            .where('state', '=', state)
            .where('priority', '=', priority)
            .where(isCounted)
            .orderBy('expires_at')
            .orderBy('created_at')
            .orderBy('id')
            .limit(limit)
            .as('counted'),
        )
        .selectAll('counted'),
    ),
  );
  const [first, ...others] = parts;
  if (first === undefined) return [];
  const counted = others.reduce((all, part) => all.unionAll(part), first);
  const rows = await db
    .selectFrom(counted.as('job'))
    .selectAll('job')
    .$if(countsTokens, (query) =>
      query.select(({ selectFrom }) =>
        selectFrom('shard')
          .select(({ fn }) => fn.sum<number | null>('shard.bytes').as('bytes'))
          .whereRef('shard.job_id', '=', 'job.id')
          .where('shard.state', 'in', ['ready', 'leased'])
          .as('bytes_left'),
      ),
    )
    .execute();
  return rows
    .sort(
      (left, right) =>
        Number(right.state === 'running') - Number(left.state === 'running') ||
        priorityRank(left.priority) - priorityRank(right.priority) ||
        left.expires_at - right.expires_at ||
        left.created_at - right.created_at ||
        (left.id < right.id ? -1 : 1),
    )
    .slice(0, limit)
    .map((job) => {
      const ran = ranItems(job);
      const output = ran > 0 ? job.output_tokens / ran : OUTPUT_PRIOR;
      const left = Math.max(0, job.total - job.succeeded - job.failed);
      const tokensLeft = (job.bytes_left ?? 0) / BYTES_PER_TOKEN + left * output;
      return { id: job.id, total: job.total, tokensLeft, held: job.held_back };
    });
}

/** What the jobs of a project without budgets will take, summed up in the database. */
export async function openWork(
  { db }: Session,
  projectId: string,
): Promise<{ jobs: number; tokens: number }> {
  const open = db
    .selectFrom('job')
    .where('job.project_id', '=', projectId)
    .where('job.state', 'in', COUNTED_STATES)
    .where(isCounted);
  const items = await open
    .select(({ fn }) => [
      fn.countAll<number>().as('jobs'),
      fn
        .sum<number | null>(
          sql<number>`(total - succeeded - failed) * (case when succeeded - reused_items > 0
            then output_tokens * 1.0 / (succeeded - reused_items) else ${sql.lit(OUTPUT_PRIOR)} end)`,
        )
        .as('output'),
    ])
    .executeTakeFirst();
  const input = await open
    .innerJoin('shard', 'shard.job_id', 'job.id')
    .where('shard.state', 'in', ['ready', 'leased'])
    .select(({ fn }) => fn.sum<number | null>('shard.bytes').as('bytes'))
    .executeTakeFirst();
  return {
    jobs: items?.jobs ?? 0,
    tokens: (input?.bytes ?? 0) / BYTES_PER_TOKEN + Number(items?.output ?? 0),
  };
}
