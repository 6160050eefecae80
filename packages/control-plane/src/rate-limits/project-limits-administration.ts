import { unknownProject } from '../access/project-administration.js';
import { DomainError } from '../errors.js';
import type { Clock } from '../ports/clock.js';
import type { BudgetUse, ProjectLimits, ProjectLimitsLedger } from '../ports/project-limits.js';

/** Shows and sets what projects may ask for. `administered`: the caller's one project; `null`: all of them. */
export class ProjectLimitsAdministration {
  readonly #ledger: ProjectLimitsLedger;
  readonly #clock: Clock;

  constructor({ ledger, clock }: { ledger: ProjectLimitsLedger; clock: Clock }) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  /** What a project uses of its budgets now. */
  async use(projectId: string): Promise<BudgetUse> {
    return await this.#ledger.budgetUse({ projectId, nowMs: this.#clock.nowMs() });
  }

  /** @throws DomainError `not_found` */
  async get(administered: string | null, projectId: string): Promise<ProjectLimits> {
    if (administered !== null && administered !== projectId) throw unknownProject(projectId);
    return await this.#ledger.getProjectLimits({ projectId });
  }

  /** @throws DomainError `not_found`, `insufficient_scope`: a project does not set its own limits */
  async set(
    administered: string | null,
    projectId: string,
    change: Partial<ProjectLimits>,
  ): Promise<ProjectLimits> {
    if (administered !== null && administered !== projectId) throw unknownProject(projectId);
    if (administered !== null) {
      throw new DomainError(
        'insufficient_scope',
        'Only an admin key of all projects ("*") may set the limits of a project.',
      );
    }
    return await this.#ledger.setProjectLimits({ projectId, change });
  }
}
