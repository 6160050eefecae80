import type { Clock } from '../ports/clock.js';
import type { BudgetUse, ProjectLimitsLedger } from '../ports/project-limits.js';

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
  readonly #ledger: Pick<ProjectLimitsLedger, 'budgetUse'>;
  readonly #clock: Clock;
  readonly #known = new Map<string, { use: BudgetUse; readAtMs: number }>();

  constructor(params: { ledger: Pick<ProjectLimitsLedger, 'budgetUse'>; clock: Clock }) {
    this.#ledger = params.ledger;
    this.#clock = params.clock;
  }

  /** `null` when the ledger does not answer. */
  async stateOf(projectId: string, limit: number): Promise<TokenState | null> {
    const use = await this.#useOf(projectId);
    if (use === null) return null;
    const { queuedTokens, settledTokens } = use;
    const remaining = Math.max(0, limit - queuedTokens);
    if (queuedTokens === 0) return { limit, remaining, resetMs: 0 };
    const resetMs = settledTokens === 0 ? null : Math.ceil((queuedTokens / settledTokens) * MINUTE_MS);
    return { limit, remaining, resetMs };
  }

  async #useOf(projectId: string): Promise<BudgetUse | null> {
    const nowMs = this.#clock.nowMs();
    const known = this.#known.get(projectId);
    if (known !== undefined && nowMs - known.readAtMs < FRESH_MS) return known.use;
    if (known !== undefined) known.readAtMs = nowMs;
    try {
      const use = await this.#ledger.budgetUse({ projectId, nowMs });
      this.#known.set(projectId, { use, readAtMs: nowMs });
      return use;
    } catch {
      return null;
    }
  }
}
