import type { Clock } from '../ports/clock.js';
import type { BudgetUse, ProjectLimitsLedger } from '../ports/project-limits.js';
import { RecentValues } from './recent-values.js';

/** How old what is told may be: it is counted over jobs, and told with every answer. */
const FRESH_MS = 2_000;
const MINUTE_MS = 60_000;

/** Where a project stands with its budget of queued tokens. */
export interface TokenState {
  readonly limit: number;
  /** Tokens that jobs could still bring without waiting for their turn. */
  readonly remaining: number;
  /** Until the budget is whole again, at the pace of the last minute; `null` when there is no pace to tell by. */
  readonly resetMs: number | null;
}

/** Tells projects with a budget of queued tokens where they stand. It refuses nothing: jobs over the budget wait. */
export class QueuedTokens {
  readonly #use: RecentValues<BudgetUse>;

  constructor({ ledger, clock }: { ledger: Pick<ProjectLimitsLedger, 'budgetUse'>; clock: Clock }) {
    const read = (projectId: string) => ledger.budgetUse({ projectId, nowMs: clock.nowMs() });
    this.#use = new RecentValues({ read, freshMs: FRESH_MS, clock });
  }

  /** `null` when the ledger does not answer. */
  async stateOf(projectId: string, limit: number): Promise<TokenState | null> {
    const use = await this.#use.get(projectId).catch(() => null);
    if (use === null) return null;
    const { queuedTokens, settledTokens } = use;
    const remaining = Math.max(0, limit - queuedTokens);
    if (queuedTokens === 0) return { limit, remaining, resetMs: 0 };
    const resetMs = settledTokens === 0 ? null : Math.ceil((queuedTokens / settledTokens) * MINUTE_MS);
    return { limit, remaining, resetMs };
  }
}
