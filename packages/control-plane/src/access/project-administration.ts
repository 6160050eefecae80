import type { UpdateProjectRequest } from '@batch-infer/contracts/access';
import { DomainError } from '../errors.js';
import type { AccessLedger, ProjectRecord } from '../ports/access.js';
import type { Clock } from '../ports/clock.js';

const DEFAULT_WEIGHT = 1;

/** Makes, shows and changes projects. `administered` as in `KeyAdministration`. */
export class ProjectAdministration {
  readonly #ledger: AccessLedger;
  readonly #clock: Clock;

  constructor(params: { ledger: AccessLedger; clock: Clock }) {
    this.#ledger = params.ledger;
    this.#clock = params.clock;
  }

  /**
   * Idempotent by the project's id.
   * @throws DomainError `insufficient_scope`, `project_exists` (with other settings)
   */
  async create(
    administered: string | null,
    request: UpdateProjectRequest & { id: string },
  ): Promise<{ project: ProjectRecord; replayed: boolean }> {
    if (administered !== null) throw needsServerKey('make projects');
    const wanted: ProjectRecord = {
      id: request.id,
      name: request.name ?? request.id,
      weight: request.weight ?? DEFAULT_WEIGHT,
      maxRunningItems: request.max_running_items ?? null,
      createdAtMs: this.#clock.nowMs(),
    };
    const { outcome, project } = await this.#ledger.createProject({ project: wanted });
    if (outcome === 'created') return { project, replayed: false };
    const same =
      project.name === wanted.name &&
      project.weight === wanted.weight &&
      project.maxRunningItems === wanted.maxRunningItems;
    if (same) return { project, replayed: true };
    throw new DomainError(
      'project_exists',
      `A project ${JSON.stringify(wanted.id)} exists with other settings. Change it at /v1/projects/${wanted.id}.`,
      { param: 'id' },
    );
  }

  /** @throws DomainError `not_found`, `insufficient_scope` (a project does not set its own share) */
  async update(
    administered: string | null,
    id: string,
    request: UpdateProjectRequest,
  ): Promise<ProjectRecord> {
    if (administered !== null && administered !== id) throw unknownProject(id);
    const setsShare = request.weight !== undefined || request.max_running_items !== undefined;
    if (administered !== null && setsShare) throw needsServerKey('set weight and max_running_items');
    const project = await this.#ledger.updateProject({
      id,
      ...(request.name === undefined ? {} : { name: request.name }),
      ...(request.weight === undefined ? {} : { weight: request.weight }),
      ...(request.max_running_items === undefined ? {} : { maxRunningItems: request.max_running_items }),
    });
    if (project === null) throw unknownProject(id);
    return project;
  }

  async list(administered: string | null): Promise<ProjectRecord[]> {
    if (administered === null) return this.#ledger.listProjects();
    const project = await this.#ledger.getProject({ id: administered });
    return project === null ? [] : [project];
  }
}

export const unknownProject = (id: string): DomainError =>
  new DomainError('not_found', `No project has the id ${JSON.stringify(id.slice(0, 80))}.`, {
    param: 'project_id',
  });

const needsServerKey = (what: string): DomainError =>
  new DomainError('insufficient_scope', `Only an admin key of all projects ("*") may ${what}.`);
