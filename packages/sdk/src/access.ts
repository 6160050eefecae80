import type {
  ApiKeyView,
  CallerView,
  ProjectLimitsView,
  ProjectView,
  CreatedApiKey as WireCreatedApiKey,
} from '@batch-infer/contracts/access';
import type { HttpClient } from './http/http-client.js';
import type { RequestOptions } from './types.js';

/** What a key may do. `admin` includes the others. */
export type ApiKeyScope = ApiKeyView['scopes'][number];

/** An API key, without the key itself. */
export interface ApiKey {
  readonly id: string;
  readonly name: string;
  /** `*`: of no project, for runners of all projects and administrators of the server. */
  readonly projectId: string;
  readonly scopes: readonly ApiKeyScope[];
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  /** Within a minute. */
  readonly lastUsedAt: Date | null;
  /** Id of the key that takes its place. */
  readonly rotatedTo: string | null;
}

/** A key that was just made: the only time that `key` is shown. */
export interface CreatedApiKey extends ApiKey {
  readonly key: string;
}

/** A project: what jobs, files and keys belong to, and what shares the runners with others. */
export interface Project {
  readonly id: string;
  readonly name: string;
  /** Share of the runners beside other projects that have work waiting. */
  readonly weight: number;
  /** Items at runners at a time; `null`: no cap. */
  readonly maxRunningItems: number | null;
  readonly createdAt: Date;
}

/** Whose key it is that asks. */
export interface Caller {
  readonly projectId: string;
  /** `null` on a server without keys. */
  readonly keyId: string | null;
  readonly scopes: readonly ApiKeyScope[];
}

export interface CreateApiKeyParams extends RequestOptions {
  readonly name?: string;
  /** Default: the caller's own. */
  readonly projectId?: string;
  /** Default: `read` and `write`. */
  readonly scopes?: readonly ApiKeyScope[];
  /** How long it works, such as `"90d"`. Default: until it is revoked. */
  readonly expiresIn?: string;
}

export interface ProjectParams extends RequestOptions {
  readonly name?: string;
  readonly weight?: number;
  readonly maxRunningItems?: number | null;
}

/** `client.keys`: needs a key with the scope `admin`. */
export class KeysApi {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /** Makes a key. Not repeated by itself unless `maxRetries` says so: an answer that is lost takes the key with it. */
  async create(params: CreateApiKeyParams = {}): Promise<CreatedApiKey> {
    const { name, projectId, scopes, expiresIn, ...options } = params;
    const json = toJson({ name, project_id: projectId, scopes, expires_in: expiresIn });
    const call = { method: 'POST', path: '/v1/keys', json, options: { maxRetries: 0, ...options } } as const;
    return toCreatedKey((await this.#http.json<WireCreatedApiKey>(call)).value);
  }

  /** Newest first: of the caller's project, or of all for an administrator of the server. */
  async list(options: RequestOptions = {}): Promise<ApiKey[]> {
    const call = { method: 'GET', path: '/v1/keys', options } as const;
    return (await this.#http.json<{ data: ApiKeyView[] }>(call)).value.data.map(toKey);
  }

  /** Ends a key: it is refused everywhere within 5 seconds. Idempotent. */
  async revoke(id: string, options: RequestOptions = {}): Promise<ApiKey> {
    const call = { method: 'DELETE', path: `/v1/keys/${encodeURIComponent(id)}`, options } as const;
    return toKey((await this.#http.json<ApiKeyView>(call)).value);
  }

  /** Makes a key in the place of another one, which goes on for `overlap` (default `"24h"`). */
  async rotate(
    id: string,
    params: RequestOptions & { readonly overlap?: string } = {},
  ): Promise<CreatedApiKey> {
    const { overlap, ...options } = params;
    const path = `/v1/keys/${encodeURIComponent(id)}/rotate`;
    const call = {
      method: 'POST',
      path,
      json: toJson({ overlap }),
      options: { maxRetries: 0, ...options },
    } as const;
    return toCreatedKey((await this.#http.json<WireCreatedApiKey>(call)).value);
  }
}

/** `client.projects`: needs an `admin` key of all projects. */
export class ProjectsApi {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /** Idempotent by `id`. */
  create(id: string, params: ProjectParams = {}): Promise<Project> {
    return this.#post('/v1/projects', { id }, params);
  }

  update(id: string, params: ProjectParams): Promise<Project> {
    return this.#post(`/v1/projects/${encodeURIComponent(id)}`, {}, params);
  }

  async list(options: RequestOptions = {}): Promise<Project[]> {
    const call = { method: 'GET', path: '/v1/projects', options } as const;
    return (await this.#http.json<{ data: ProjectView[] }>(call)).value.data.map(toProject);
  }

  /** What a project may ask for. A key with the scope `admin` reads its own project's. */
  async limits(id: string, options: RequestOptions = {}): Promise<ProjectLimits> {
    const call = { method: 'GET', path: limitsPath(id), options } as const;
    return toLimits((await this.#http.json<ProjectLimitsView>(call)).value);
  }

  /** What is left out stays as it is; `null` lifts a limit. */
  async setLimits(
    id: string,
    params: RequestOptions & Partial<Omit<ProjectLimits, 'projectId'>>,
  ): Promise<ProjectLimits> {
    const { requestsPerMinute, maxRunningJobs, maxQueuedTokens, ...options } = params;
    const json = toJson({
      requests_per_minute: requestsPerMinute,
      max_running_jobs: maxRunningJobs,
      max_queued_tokens: maxQueuedTokens,
    });
    const call = { method: 'POST', path: limitsPath(id), json, options } as const;
    return toLimits((await this.#http.json<ProjectLimitsView>(call)).value);
  }

  async #post(path: string, body: object, params: ProjectParams): Promise<Project> {
    const { name, weight, maxRunningItems, ...options } = params;
    const json = toJson({ ...body, name, weight, max_running_items: maxRunningItems });
    return toProject((await this.#http.json<ProjectView>({ method: 'POST', path, json, options })).value);
  }
}

/** What a project may ask for; `null`: as much as it likes. */
export interface ProjectLimits {
  readonly projectId: string;
  /** Requests to the API, by a token bucket that holds a minute's worth. */
  readonly requestsPerMinute: number | null;
  /** Jobs of more than one item that run at a time; others wait for their turn. */
  readonly maxRunningJobs: number | null;
  /** Tokens (estimated) of the jobs that run at a time; others wait, but one may always run. */
  readonly maxQueuedTokens: number | null;
}

export async function whoami(http: HttpClient, options: RequestOptions = {}): Promise<Caller> {
  const { value } = await http.json<CallerView>({ method: 'GET', path: '/v1/whoami', options });
  return { projectId: value.project_id, keyId: value.key_id, scopes: value.scopes };
}

const limitsPath = (id: string): string => `/v1/projects/${encodeURIComponent(id)}/limits`;

const toLimits = (wire: ProjectLimitsView): ProjectLimits => ({
  projectId: wire.project_id,
  requestsPerMinute: wire.requests_per_minute,
  maxRunningJobs: wire.max_running_jobs,
  maxQueuedTokens: wire.max_queued_tokens,
});

/** Keys without a value are left out. */
const toJson = (body: object): string => JSON.stringify(body);

const time = (text: string | null): Date | null => (text === null ? null : new Date(text));

const toKey = (wire: ApiKeyView): ApiKey => ({
  id: wire.id,
  name: wire.name,
  projectId: wire.project_id,
  scopes: wire.scopes,
  createdAt: new Date(wire.created_at),
  expiresAt: time(wire.expires_at),
  revokedAt: time(wire.revoked_at),
  lastUsedAt: time(wire.last_used_at),
  rotatedTo: wire.rotated_to,
});

const toCreatedKey = (wire: WireCreatedApiKey): CreatedApiKey => ({ ...toKey(wire), key: wire.key });

const toProject = (wire: ProjectView): Project => ({
  id: wire.id,
  name: wire.name,
  weight: wire.weight,
  maxRunningItems: wire.max_running_items,
  createdAt: new Date(wire.created_at),
});
