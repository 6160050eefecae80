/** What a project may ask for; `null`: as much as it likes. */
export interface ProjectLimits {
  /** Requests to the API, by a token bucket that holds a minute's worth. */
  readonly requestsPerMinute: number | null;
  /** Jobs of more than one item that run at a time; others wait for their turn. */
  readonly maxRunningJobs: number | null;
  /** Tokens (estimated) of the jobs that run at a time; others wait, but one may always run. */
  readonly maxQueuedTokens: number | null;
}

export const NO_LIMITS: ProjectLimits = {
  requestsPerMinute: null,
  maxRunningJobs: null,
  maxQueuedTokens: null,
};

/** The budget for which a job waits. */
export type Budget = 'running_jobs' | 'queued_tokens';

/** Jobs of more than one item that run or may run now; those that wait for a budget use nothing of it. */
export interface BudgetUse {
  readonly runningJobs: number;
  /** Estimated tokens of what has not ended of them. */
  readonly queuedTokens: number;
  /** Input and output tokens that they settled in the last minute. */
  readonly settledTokens: number;
}

/** The part of the ledger that keeps limits. Projects need no row of their own to have some. */
export interface ProjectLimitsLedger {
  getProjectLimits(params: { projectId: string }): Promise<ProjectLimits>;
  /** Keys that are left out stay as they are. */
  setProjectLimits(params: { projectId: string; change: Partial<ProjectLimits> }): Promise<ProjectLimits>;
  /** For which budget of its project a job waits; `null` when it may run. */
  budgetOf(params: { jobId: string }): Promise<{ budget: Budget; limits: ProjectLimits } | null>;
  /** What of its budgets a project uses now. */
  budgetUse(params: { projectId: string; nowMs: number }): Promise<BudgetUse>;
  /**
   * Takes requests out of the bucket of a project, which all control planes share: as many of the `wanted` ones as it
   * holds. `returned` ones were granted before and not made; `overdrawn` ones were made without being granted.
   * `fullAtMs`: when the bucket is full again.
   */
  takeRequests(params: {
    projectId: string;
    perMinute: number;
    wanted: number;
    returned: number;
    overdrawn: number;
    nowMs: number;
  }): Promise<{ granted: number; fullAtMs: number }>;
}
