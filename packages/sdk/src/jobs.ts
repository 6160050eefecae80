import { DEFAULT_ENDPOINT } from '@batch-infer/contracts';
import type {
  Job as WireJob,
  JobList as WireJobList,
  JobPlan as WireJobPlan,
} from '@batch-infer/contracts/native';
import { contentKey } from './content-key.js';
import type { Answer, Call, HttpClient } from './http/http-client.js';
import { JobHandle, type RetryOptions } from './job-handle.js';
import { toJob, toWireItem, toWireOptions } from './mapping.js';
import { fetchJob } from './poll.js';
import type { ResultsOptions } from './results.js';
import { type FileInput, type InputSource, linesSource, toSource } from './sources.js';
import type {
  ItemResult,
  Job,
  JobItem,
  JobOptions,
  JobPlan,
  JobStatus,
  Page,
  RequestOptions,
  SubmitOptions,
} from './types.js';

/** Larger jobs travel as NDJSON instead of one JSON body. */
const INLINE_ITEMS = 1_000;
const INLINE_CHARS = 4_000_000;
const REPLAYED_HEADER = 'idempotent-replayed';

/** What `submit` takes: options, and exactly one of `items`, `input` and `fileId`. */
export type SubmitParams = SubmitOptions &
  (
    | { readonly items: readonly JobItem[]; readonly input?: never; readonly fileId?: never }
    /** The body of one request. */
    | { readonly input: Readonly<Record<string, unknown>>; readonly items?: never; readonly fileId?: never }
    /** JSONL uploaded before through `/v1/files`. */
    | { readonly fileId: string; readonly items?: never; readonly input?: never }
  );

export interface SubmitFileOptions extends SubmitOptions {
  /**
   * A file given by its path has an idempotency key made of its content and the options, so that submitting it again
   * finds the first job. `true` makes a new job all the same.
   */
  readonly fresh?: boolean;
}

export interface ListJobsOptions extends RequestOptions {
  readonly status?: JobStatus;
  readonly model?: string;
  /** Only jobs with these pairs. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly createdAfter?: Date;
  /** Jobs a page, 1 to 100. Default 20. */
  readonly limit?: number;
}

/** `client.jobs`: hand work over, find it again, steer it. */
export class JobsApi {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /**
   * Makes a job of items, of one input, or of an uploaded file. Resolves when job and input are stored.
   *
   * @throws BadRequestError with `errors` when items are not valid, and the other `APIError`s.
   */
  async submit(params: SubmitParams): Promise<JobHandle> {
    const { items, input, fileId, ...options } = params;
    if (items !== undefined && items.length > INLINE_ITEMS) return await this.#submitLines(items, options);
    const source =
      items === undefined
        ? input === undefined
          ? { file_id: fileId }
          : { input }
        : { items: items.map(toWireItem) };
    const json = JSON.stringify({ ...toWireOptions(withEndpoint(options)), ...source });
    if (items !== undefined && json.length > INLINE_CHARS) return await this.#submitLines(items, options);
    return this.#handle(
      await this.#http.json<WireJob>({ method: 'POST', path: '/v1/jobs', json, ...callOf(options) }),
    );
  }

  /**
   * Makes a job of a JSONL file: OpenAI's lines (`custom_id`, `method`, `url`, `body`) or short ones (`body` alone).
   * The file is streamed, never held in memory. One given by its path is hashed first: see `fresh`.
   *
   * @throws InputReadError when the file cannot be read; BadRequestError with `errors` (line, field) when it is not
   *   valid; and the other `APIError`s.
   */
  async submitFile(file: FileInput, options: SubmitFileOptions = {}): Promise<JobHandle> {
    const { fresh = false, ...rest } = options;
    const source = await toSource(file);
    const { idempotencyKey = fresh ? undefined : await contentKey(source, rest) } = rest;
    return await this.#submitSource(source, {
      ...rest,
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    });
  }

  /**
   * What a file would be as a job, without making one: it is read and checked like the input of `submitFile`.
   *
   * @throws As `submitFile`.
   */
  async estimate(file: FileInput, options: SubmitFileOptions = {}): Promise<JobPlan> {
    const { value } = await this.#http.json<WireJobPlan>({
      method: 'POST',
      path: '/v1/jobs',
      query: { ...queryOf(withEndpoint(options)), dry_run: true },
      input: await toSource(file),
      options: callOf(options).options,
    });
    return { items: value.items, models: value.models, shards: value.shards, inputBytes: value.input_bytes };
  }

  /** Makes a job of one request body: a job of one item on the same path. `result()` of the handle waits for it. */
  async submitOne(body: Readonly<Record<string, unknown>>, options: SubmitOptions = {}): Promise<JobHandle> {
    return await this.submit({ ...options, input: body });
  }

  /** A handle for a job made earlier. Sends nothing. */
  attach(jobId: string): JobHandle {
    return new JobHandle(this.#http, jobId);
  }

  /** The job as it is now. */
  async get(jobId: string, options: RequestOptions = {}): Promise<Job> {
    return await fetchJob(this.#http, jobId, options);
  }

  /** All jobs, newest first; pages are fetched as they are wanted. `page()` gives one page. */
  list(options: ListJobsOptions = {}): JobList {
    return new JobList(this.#http, options);
  }

  /** See {@link JobHandle.results}. */
  results(jobId: string, options: ResultsOptions = {}): AsyncGenerator<ItemResult, void, undefined> {
    return this.attach(jobId).results(options);
  }

  /** See {@link JobHandle.errors}. */
  errors(
    jobId: string,
    options: Omit<ResultsOptions, 'status'> = {},
  ): AsyncGenerator<ItemResult, void, undefined> {
    return this.attach(jobId).errors(options);
  }

  /** See {@link JobHandle.cancel}. */
  async cancel(jobId: string, options: RequestOptions = {}): Promise<Job> {
    return await this.attach(jobId).cancel(options);
  }

  /** See {@link JobHandle.pause}. */
  async pause(jobId: string, options: RequestOptions = {}): Promise<Job> {
    return await this.attach(jobId).pause(options);
  }

  /** See {@link JobHandle.resume}. */
  async resume(jobId: string, options: RequestOptions = {}): Promise<Job> {
    return await this.attach(jobId).resume(options);
  }

  /** See {@link JobHandle.retryFailed}. */
  async retry(jobId: string, options: RetryOptions = {}): Promise<Job> {
    return await this.attach(jobId).retryFailed(options);
  }

  async #submitLines(items: readonly JobItem[], options: SubmitOptions): Promise<JobHandle> {
    const source = linesSource(function* () {
      for (const item of items) yield JSON.stringify(toWireItem(item));
    });
    return await this.#submitSource(source, options);
  }

  async #submitSource(input: InputSource, options: SubmitOptions): Promise<JobHandle> {
    const query = queryOf(withEndpoint(options));
    return this.#handle(
      await this.#http.json<WireJob>({ method: 'POST', path: '/v1/jobs', query, input, ...callOf(options) }),
    );
  }

  #handle({ value, headers }: Answer<WireJob>): JobHandle {
    return new JobHandle(this.#http, value.id, toJob(value), headers.get(REPLAYED_HEADER) === 'true');
  }
}

const withEndpoint = (options: JobOptions): JobOptions => ({ endpoint: DEFAULT_ENDPOINT, ...options });

function callOf({ idempotencyKey, timeoutMs, maxRetries, signal }: SubmitOptions): {
  idempotencyKey: string | undefined;
  options: RequestOptions;
} {
  return {
    idempotencyKey,
    options: {
      signal,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(maxRetries === undefined ? {} : { maxRetries }),
    },
  };
}

/** Options of an NDJSON body travel in the query string: `metadata[key]=value`, `defaults` as JSON. */
function queryOf(options: JobOptions): NonNullable<Call['query']> {
  const { metadata, defaults, webhook, ...plain } = toWireOptions(options);
  return {
    ...plain,
    ...metadataQuery(metadata),
    ...(defaults === undefined ? {} : { defaults: JSON.stringify(defaults) }),
    ...(webhook === undefined ? {} : { webhook: JSON.stringify(webhook) }),
  };
}

const metadataQuery = (metadata: Readonly<Record<string, string>> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`metadata[${key}]`, value]));

/** A list of jobs: iterate over all, or take it page by page. */
export class JobList implements AsyncIterable<Job> {
  readonly #http: HttpClient;
  readonly #options: ListJobsOptions;

  constructor(http: HttpClient, options: ListJobsOptions) {
    this.#http = http;
    this.#options = options;
  }

  /** One page; the first without a cursor. */
  async page(cursor: string | null = null): Promise<Page<Job>> {
    const { status, model, metadata, createdAfter, limit, ...request } = this.#options;
    const { value } = await this.#http.json<WireJobList>({
      method: 'GET',
      path: '/v1/jobs',
      query: {
        status,
        model,
        created_after: createdAfter?.toISOString(),
        limit,
        cursor,
        ...metadataQuery(metadata),
      },
      options: request,
    });
    return { data: value.data.map(toJob), hasMore: value.has_more, nextCursor: value.next_cursor };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Job, void, undefined> {
    let cursor: string | null = null;
    for (;;) {
      const page: Page<Job> = await this.page(cursor);
      yield* page.data;
      if (!page.hasMore || page.nextCursor === null) return;
      cursor = page.nextCursor;
    }
  }
}
