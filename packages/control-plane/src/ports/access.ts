import type { ApiKeyScope } from '@batch-infer/contracts/access';

/** Projects and API keys as the ledger keeps them. Times are epoch milliseconds. */
export interface ProjectRecord {
  readonly id: string;
  readonly name: string;
  /** Share of the runners beside other projects that have work waiting. */
  readonly weight: number;
  /** Items offered or held by runners at a time; `null`: no cap. */
  readonly maxRunningItems: number | null;
  readonly createdAtMs: number;
}

export interface ApiKeyRecord {
  /** `key_…`; what stands behind the prefix is the public part of the key. */
  readonly id: string;
  /** `*`: of no project. */
  readonly projectId: string;
  readonly name: string;
  /** SHA-256 (hex) of the secret part: the secret itself is stored nowhere. */
  readonly hash: string;
  readonly scopes: readonly ApiKeyScope[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
  /** Within a minute. */
  readonly lastUsedAtMs: number | null;
  /** The key that takes its place. */
  readonly rotatedTo: string | null;
}

/** Whether a key may be used now. */
export const isActive = (key: ApiKeyRecord, nowMs: number): boolean =>
  key.revokedAtMs === null && (key.expiresAtMs === null || key.expiresAtMs > nowMs);

/** The part of the ledger that says who may do what. */
export interface AccessLedger {
  /** `exists`: with the row that is there. */
  createProject(params: {
    project: ProjectRecord;
  }): Promise<{ outcome: 'created' | 'exists'; project: ProjectRecord }>;
  /** `null` for an unknown project. */
  updateProject(params: {
    id: string;
    name?: string;
    weight?: number;
    maxRunningItems?: number | null;
  }): Promise<ProjectRecord | null>;
  getProject(params: { id: string }): Promise<ProjectRecord | null>;
  /** By id. */
  listProjects(): Promise<ProjectRecord[]>;

  createApiKey(params: { key: ApiKeyRecord }): Promise<void>;
  /** Of whatever project: this is how a caller's project is found. */
  getApiKey(params: { id: string }): Promise<ApiKeyRecord | null>;
  /** Newest first; of every project with `null`. */
  listApiKeys(params: { projectId: string | null }): Promise<ApiKeyRecord[]>;
  /** Whether any key was ever made: from then on requests need one, even when all were revoked. */
  hasApiKeys(): Promise<boolean>;
  /** Idempotent: the first time stays. `null` for unknown keys and those of other projects. */
  revokeApiKey(params: { id: string; projectId: string | null; nowMs: number }): Promise<ApiKeyRecord | null>;
  /**
   * Puts a key beside an active one, which ends at `endsAtMs` at the latest. There are never more than two of them: a
   * successor that was never used is revoked and replaced (its secret was lost with an answer), one in use refuses.
   */
  rotateApiKey(params: {
    id: string;
    projectId: string | null;
    successor: Pick<ApiKeyRecord, 'id' | 'hash'>;
    endsAtMs: number;
    nowMs: number;
  }): Promise<
    { outcome: 'rotated'; key: ApiKeyRecord } | { outcome: 'not_found' | 'not_active' | 'already_rotated' }
  >;
  /** Writes the time of use, unless one was written within a minute. */
  touchApiKey(params: { id: string; nowMs: number }): Promise<void>;
}
