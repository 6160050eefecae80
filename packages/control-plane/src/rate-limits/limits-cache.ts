import type { Clock } from '../ports/clock.js';
import type { ProjectLimits, ProjectLimitsLedger } from '../ports/project-limits.js';

/** A change of limits is seen by every process within this. */
const FRESH_MS = 5_000;

/** The limits of projects as they were a moment ago. */
export class LimitsCache {
  readonly #ledger: Pick<ProjectLimitsLedger, 'getProjectLimits'>;
  readonly #clock: Clock;
  readonly #known = new Map<string, { limits: ProjectLimits | null; readAtMs: number }>();

  constructor(params: { ledger: Pick<ProjectLimitsLedger, 'getProjectLimits'>; clock: Clock }) {
    this.#ledger = params.ledger;
    this.#clock = params.clock;
  }

  /** `null` while nothing is known, because the ledger did not answer yet. */
  async get(projectId: string): Promise<ProjectLimits | null> {
    const nowMs = this.#clock.nowMs();
    const known = this.#known.get(projectId);
    if (known !== undefined && nowMs - known.readAtMs < FRESH_MS) return known.limits;
    // Others go on with what is known while one request asks.
    if (known !== undefined) known.readAtMs = nowMs;
    try {
      const limits = await this.#ledger.getProjectLimits({ projectId });
      this.#known.set(projectId, { limits, readAtMs: nowMs });
      return limits;
    } catch {
      return known?.limits ?? null;
    }
  }
}
