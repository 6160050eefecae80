import type { JobProblemLedger } from '../ports/job-problems.js';
import type { JobProblem } from '../ports/records.js';
import type { Database } from './dialect.js';
import { endFinalizing } from './finalization.js';
import { neverRunStatus } from './job-rules.js';
import { lockJob } from './jobs.js';
import { toProblem, toProblemColumns } from './rows.js';
import type { JobRow } from './schema.js';

export function jobProblemLedger(database: Database): JobProblemLedger {
  return {
    recordProblem: (params) => recordProblem(database, params),
    giveUpJob: (params) => giveUpJob(database, params),
  };
}

async function recordProblem(
  database: Database,
  params: Parameters<JobProblemLedger['recordProblem']>[0],
): Promise<JobProblem | null> {
  const { jobId, owner, code, message, own, retryAtMs, nowMs } = params;
  return database.transaction(async ({ db, ...session }) => {
    const job = await lockJob({ db, ...session }, jobId);
    if (job === null || !isDue(job, code)) return null;
    if (job.finalize_owner !== null && job.finalize_owner !== owner) return null;
    const earlier = job.problem_code === code ? toProblem(job) : null;
    const problem: JobProblem = {
      code,
      message,
      sinceMs: earlier?.sinceMs ?? nowMs,
      tries: (earlier?.tries ?? 0) + 1,
      ownTries: (earlier?.ownTries ?? 0) + (own ? 1 : 0),
    };
    await db
      .updateTable('job')
      .set({
        ...toProblemColumns(problem),
        finalize_owner: null,
        finalize_until: retryAtMs,
        version: job.version + 1,
      })
      .where('id', '=', jobId)
      .execute();
    return problem;
  });
}

const isDue = (job: JobRow, code: JobProblem['code']): boolean =>
  code === 'plan_failed'
    ? job.ordinals === null && (job.state === 'validating' || job.state === 'cancelling')
    : job.state === 'finalizing';

async function giveUpJob(
  database: Database,
  params: Parameters<JobProblemLedger['giveUpJob']>[0],
): Promise<boolean> {
  return database.transaction(async (session) => {
    const job = await lockJob(session, params.jobId);
    if (job === null || job.state !== 'finalizing' || job.finalize_owner !== params.owner) return false;
    const neverRun = Math.max(0, job.total - job.succeeded - job.failed);
    const expired = neverRunStatus(job.end_reason) === 'expired' ? neverRun : 0;
    const end = {
      state: params.state,
      cancelled: neverRun - expired,
      expired,
      input_errors: JSON.stringify([...JSON.parse(job.input_errors), params.error]),
    };
    await endFinalizing(session, job, end, params.nowMs);
    return true;
  });
}
