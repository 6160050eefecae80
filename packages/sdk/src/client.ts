import type { RunnerView } from '@batch-infer/contracts/runner-protocol';
import { type Caller, KeysApi, ProjectsApi, whoami } from './access.js';
import { type BatchInferOptions, resolveOptions } from './config.js';
import { HttpClient } from './http/http-client.js';
import { JobsApi } from './jobs.js';
import { type MapOptions, type MapResult, mapRows, valuesOrThrow } from './map.js';
import { toRunner } from './mapping.js';
import type { Model, RequestOptions, Runner } from './types.js';
import { WebhooksApi } from './webhooks.js';

/**
 * A client of a batch-infer server.
 *
 * ```ts
 * const client = new BatchInfer();
 * const job = await client.jobs.submit({ model: 'my-model', items: [{ body: { messages } }] });
 * await job.wait();
 * for await (const result of job.results()) console.log(result);
 * ```
 *
 * Calls that may succeed later (429, 5xx, broken connections) are repeated by themselves, with the server's own delay
 * or full jitter, within a budget that the whole client shares. Every POST carries an idempotency key.
 */
export class BatchInfer {
  readonly jobs: JobsApi;
  /** The runners that serve models now. */
  readonly runners: { list(options?: RequestOptions): Promise<Runner[]> };
  /** The models that jobs can name now. */
  readonly models: { list(options?: RequestOptions): Promise<Model[]> };
  /** API keys; needs the scope `admin`. */
  readonly keys: KeysApi;
  /** Projects; needs an `admin` key of all projects. */
  readonly projects: ProjectsApi;
  /** Who is told of the ends of jobs; and reading what was told. */
  readonly webhooks: WebhooksApi;
  /** Whose key it is that this client uses. */
  readonly whoami: (options?: RequestOptions) => Promise<Caller>;
  /** Origin of the server. */
  readonly baseUrl: string;

  /** @throws TypeError when the base URL is not an http(s) URL. */
  constructor(options: BatchInferOptions = {}) {
    const http = new HttpClient(resolveOptions(options));
    this.baseUrl = http.baseUrl;
    this.jobs = new JobsApi(http);
    this.runners = { list: (request) => listRunners(http, request) };
    this.keys = new KeysApi(http);
    this.projects = new ProjectsApi(http);
    this.webhooks = new WebhooksApi(http);
    this.whoami = (request) => whoami(http, request);
    this.models = { list: (request) => listModels(http, request) };
  }

  /**
   * Runs every row as one item of one job and resolves to the answers: same order, same length. An answer is the
   * model's text (or vector), or what `schema` makes of it.
   *
   * @throws PartialFailureError when a row failed, unless `onError` is `return`.
   */
  map<Row, Output = string>(
    rows: readonly Row[],
    toRequest: (row: Row, index: number) => Readonly<Record<string, unknown>>,
    options: MapOptions<Output> & { readonly onError: 'return' },
  ): Promise<MapResult<Output>[]>;
  map<Row, Output = string>(
    rows: readonly Row[],
    toRequest: (row: Row, index: number) => Readonly<Record<string, unknown>>,
    options?: MapOptions<Output>,
  ): Promise<Output[]>;
  async map<Row, Output = string>(
    rows: readonly Row[],
    toRequest: (row: Row, index: number) => Readonly<Record<string, unknown>>,
    options: MapOptions<Output> = {},
  ): Promise<Output[] | MapResult<Output>[]> {
    const { job, results } = await mapRows(this.jobs, rows, toRequest, options);
    if (options.onError === 'return') return results;
    return job === null ? [] : valuesOrThrow(job, results);
  }
}

async function listRunners(http: HttpClient, options: RequestOptions = {}): Promise<Runner[]> {
  const { value } = await http.json<{ data: RunnerView[] }>({ method: 'GET', path: '/v1/runners', options });
  return value.data.map(toRunner);
}

interface WireModel {
  readonly id: string;
  readonly created?: number;
  readonly owned_by?: string;
}

async function listModels(http: HttpClient, options: RequestOptions = {}): Promise<Model[]> {
  const { value } = await http.json<{ data: WireModel[] }>({ method: 'GET', path: '/v1/models', options });
  return value.data.map(({ id, created = 0, owned_by = '' }) => ({ id, created, ownedBy: owned_by }));
}
