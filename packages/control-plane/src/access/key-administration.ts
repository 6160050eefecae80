import { parseDurationMs } from '@batch-infer/contracts';
import {
  ALL_PROJECTS,
  type ApiKeyScope,
  type CreateApiKeyRequest,
  type RotateApiKeyRequest,
} from '@batch-infer/contracts/access';
import { DomainError } from '../errors.js';
import type { AccessLedger, ApiKeyRecord } from '../ports/access.js';
import type { Clock } from '../ports/clock.js';
import { newApiKey } from './key-format.js';
import { unknownProject } from './project-administration.js';

/** What a key may do unless its maker says otherwise. */
const DEFAULT_SCOPES: readonly ApiKeyScope[] = ['read', 'write'];
const DEFAULT_OVERLAP = '24h';
/** Scopes that make sense without a project. */
const PROJECT_FREE_SCOPES: readonly ApiKeyScope[] = ['runner', 'admin'];

/** A key that was just made: `key` is shown once and stored nowhere. */
export interface MadeApiKey {
  readonly record: ApiKeyRecord;
  readonly key: string;
}

/**
 * Makes, shows, rotates and revokes API keys. `projectId` is the project whose keys the caller administers, `null` for
 * all of them; keys and projects beyond it are as if they did not exist.
 */
export class KeyAdministration {
  readonly #ledger: AccessLedger;
  readonly #clock: Clock;
  readonly #onChange: (keyId: string) => void;

  constructor(params: { ledger: AccessLedger; clock: Clock; onChange?: (keyId: string) => void }) {
    this.#ledger = params.ledger;
    this.#clock = params.clock;
    this.#onChange = params.onChange ?? (() => {});
  }

  /** @throws DomainError `not_found` (project), `invalid_parameter` (scopes that need a project) */
  async create(params: {
    projectId: string | null;
    /** The project of the key when the request names none. */
    defaultProjectId: string;
    request: CreateApiKeyRequest;
  }): Promise<MadeApiKey> {
    const { projectId, request } = params;
    const target = request.project_id ?? params.defaultProjectId;
    await this.#requireProject(projectId, target);
    const scopes = scopesOfNewKey(target, request.scopes);
    const nowMs = this.#clock.nowMs();
    const { id, hash, key } = newApiKey(nowMs);
    const lifeMs = request.expires_in === undefined ? null : parseDurationMs(request.expires_in);
    const record: ApiKeyRecord = {
      id,
      projectId: target,
      name: request.name ?? 'unnamed',
      hash,
      scopes,
      createdAtMs: nowMs,
      expiresAtMs: lifeMs === null ? null : nowMs + lifeMs,
      revokedAtMs: null,
      lastUsedAtMs: null,
      rotatedTo: null,
    };
    await this.#ledger.createApiKey({ key: record });
    this.#onChange(id);
    return { record, key };
  }

  list(projectId: string | null): Promise<ApiKeyRecord[]> {
    return this.#ledger.listApiKeys({ projectId });
  }

  /** Ends a key now; idempotent. @throws DomainError `not_found` */
  async revoke(projectId: string | null, id: string): Promise<ApiKeyRecord> {
    const revoked = await this.#ledger.revokeApiKey({ id, projectId, nowMs: this.#clock.nowMs() });
    if (revoked === null) throw unknownKey(id);
    this.#onChange(id);
    return revoked;
  }

  /**
   * A new key in the place of an active one, which goes on for the overlap.
   * @throws DomainError `not_found` (also for keys that have ended), `key_already_rotated`
   */
  async rotate(projectId: string | null, id: string, request: RotateApiKeyRequest): Promise<MadeApiKey> {
    const nowMs = this.#clock.nowMs();
    const { key, ...successor } = newApiKey(nowMs);
    const overlapMs = parseDurationMs(request.overlap ?? DEFAULT_OVERLAP) ?? 0;
    const rotated = await this.#ledger.rotateApiKey({
      id,
      projectId,
      successor,
      endsAtMs: nowMs + overlapMs,
      nowMs,
    });
    if (rotated.outcome === 'already_rotated') {
      throw new DomainError(
        'key_already_rotated',
        'This key has a successor that is in use. Rotate the successor, or revoke it first.',
      );
    }
    if (rotated.outcome !== 'rotated') throw unknownKey(id);
    this.#onChange(id);
    return { record: rotated.key, key };
  }

  /** A caller of one project learns nothing of the others. */
  async #requireProject(administered: string | null, target: string): Promise<void> {
    if (administered !== null && administered !== target) throw unknownProject(target);
    if (target === ALL_PROJECTS) return;
    if ((await this.#ledger.getProject({ id: target })) === null) throw unknownProject(target);
  }
}

/**
 * What a new key may do. A key of no project has a use for some scopes only.
 * @throws DomainError `invalid_parameter`
 */
export function scopesOfNewKey(
  projectId: string,
  wanted: readonly ApiKeyScope[] = DEFAULT_SCOPES,
): ApiKeyScope[] {
  const scopes = [...new Set(wanted)];
  if (projectId === ALL_PROJECTS && !scopes.every((scope) => PROJECT_FREE_SCOPES.includes(scope))) {
    throw new DomainError(
      'invalid_parameter',
      `A key of all projects may have the scopes ${PROJECT_FREE_SCOPES.join(' and ')} only: jobs and files belong to one project.`,
      { param: 'scopes' },
    );
  }
  return scopes;
}

const unknownKey = (id: string): DomainError =>
  new DomainError('not_found', `No active API key has the id ${JSON.stringify(id.slice(0, 80))}.`);
