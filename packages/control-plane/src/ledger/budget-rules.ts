import type { Budget, ProjectLimits } from '../ports/project-limits.js';

/** Which jobs of a project its budgets let run, pure. */

/** An unfinished job that could run. */
export interface BudgetedJob {
  readonly id: string;
  /** Items in all; jobs of one item pass every budget: somebody may be waiting for the answer. */
  readonly total: number;
  /** Estimated tokens of what has not ended. */
  readonly tokensLeft: number;
}

/**
 * The jobs that wait for a budget, and for which. `jobs` in the order in which they are let in: what runs already comes
 * first. One job is always let in, so that one larger than the budget is not kept waiting for ever.
 */
export function heldBack(jobs: readonly BudgetedJob[], limits: ProjectLimits): Map<string, Budget> {
  const held = new Map<string, Budget>();
  let running = 0;
  let tokens = 0;
  for (const job of jobs) {
    if (job.total <= 1) continue;
    const budget = budgetFor(job, running, tokens, limits);
    if (budget !== null) held.set(job.id, budget);
    else {
      running += 1;
      tokens += job.tokensLeft;
    }
  }
  return held;
}

function budgetFor(job: BudgetedJob, running: number, tokens: number, limits: ProjectLimits): Budget | null {
  if (running === 0) return null;
  const { maxRunningJobs, maxQueuedTokens } = limits;
  if (maxRunningJobs !== null && running >= maxRunningJobs) return 'running_jobs';
  if (maxQueuedTokens !== null && tokens + job.tokensLeft > maxQueuedTokens) return 'queued_tokens';
  return null;
}
