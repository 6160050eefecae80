import type { Job as WireJob } from '@batch-infer/contracts/native';
import { BatchInferError, JobFailedError } from './errors.js';
import { type EventsOptions, type JobEvent, streamEvents } from './events.js';
import type { HttpClient } from './http/http-client.js';
import { toJob } from './mapping.js';
import { fetchJob, type WaitOptions, waitForEnd } from './poll.js';
import { type RawResultLine, type ResultsOptions, streamResultLines, streamResults } from './results.js';
import type { ItemResult, Job, RequestOptions } from './types.js';

/** What `retryFailed` runs again. */
export interface RetryOptions extends RequestOptions {
  /** Default: failed, expired and cancelled items. */
  readonly status?: readonly ('failed' | 'expired' | 'cancelled')[];
  /** Makes the call safe to repeat across processes. */
  readonly idempotencyKey?: string;
}

/** A job on the server, to wait for, read and steer. Making one costs no request. */
export class JobHandle {
  readonly id: string;
  /** True when `submit` found a job made earlier with the same idempotency key. */
  readonly replayed: boolean;
  readonly #http: HttpClient;
  #latest: Job | null;

  /** Use `client.jobs.submit`, `submitFile`, `submitOne` or `attach`. */
  constructor(http: HttpClient, id: string, latest: Job | null = null, replayed = false) {
    this.#http = http;
    this.id = id;
    this.replayed = replayed;
    this.#latest = latest;
  }

  /** The job as it was last seen; `null` on a handle from `attach` that has not asked yet. */
  get latest(): Job | null {
    return this.#latest;
  }

  /** Asks the server. */
  async refresh(options: RequestOptions = {}): Promise<Job> {
    return this.#see(await fetchJob(this.#http, this.id, options));
  }

  /**
   * Waits for the job's end, by long polls. Never cancels: the job goes on when waiting stops.
   *
   * @returns The ended job. With failed items among its items it still counts as ended well.
   * @throws WaitTimeoutError when `timeoutMs` have passed; JobFailedError when the job failed, was cancelled or expired
   *   (unless `onFailure` is `return`); the signal's reason when it is aborted.
   */
  async wait(options: WaitOptions = {}): Promise<Job> {
    const job = this.#see(await waitForEnd(this.#http, this.id, options));
    if (job.status !== 'succeeded' && options.onFailure !== 'return') throw new JobFailedError(job);
    return job;
  }

  /**
   * The end of every item, in constant memory, also while the job runs. A failed item is a value (`ok: false`).
   *
   * @throws APIError when the server cannot be read on, after reopening behind the last item.
   */
  results(options: ResultsOptions = {}): AsyncGenerator<ItemResult, void, undefined> {
    return streamResults(this.#http, this.id, options);
  }

  /** The items that did not succeed. */
  errors(options: Omit<ResultsOptions, 'status'> = {}): AsyncGenerator<ItemResult, void, undefined> {
    return this.results({ ...options, status: ['failed', 'cancelled', 'expired'] });
  }

  /** `results` as the server's own NDJSON lines, for copying. */
  lines(options: ResultsOptions = {}): AsyncGenerator<RawResultLine, void, undefined> {
    return streamResultLines(this.#http, this.id, options);
  }

  /**
   * What happens to the job, as the server tells it, from now to its end: no polling. A stream that breaks is opened
   * again behind the last event.
   *
   * @throws APIError when the server cannot be read on.
   */
  events(options: EventsOptions = {}): AsyncGenerator<JobEvent, void, undefined> {
    return streamEvents(this.#http, this.id, options);
  }

  /** The result of a job of one item: waits for it. The value says whether it succeeded. */
  async result(options: Omit<WaitOptions, 'onFailure'> = {}): Promise<ItemResult> {
    await this.wait({ ...options, onFailure: 'return' });
    for await (const result of this.results({ signal: options.signal })) return result;
    throw new BatchInferError(`Job ${this.id} has no results: its input was refused`);
  }

  /** Stops the job: nothing new starts, what is finished stays. Answers before the last item has stopped. */
  async cancel(options: RequestOptions = {}): Promise<Job> {
    return await this.#post('cancel', undefined, options);
  }

  /**
   * Holds the job back: nothing of it starts until `resume()`, and what runs is given back. Its results stay and its
   * completion window goes on. Safe to repeat.
   */
  async pause(options: RequestOptions = {}): Promise<Job> {
    return await this.#post('pause', undefined, options);
  }

  /** Lets a paused job go on. Safe to repeat. */
  async resume(options: RequestOptions = {}): Promise<Job> {
    return await this.#post('resume', undefined, options);
  }

  /** Runs failed, expired and cancelled items of an ended job again, under the same id. */
  async retryFailed({ status, ...options }: RetryOptions = {}): Promise<Job> {
    return await this.#post('retry', status === undefined ? {} : { status }, options);
  }

  async #post(
    action: 'cancel' | 'pause' | 'resume' | 'retry',
    body: unknown,
    { idempotencyKey, ...options }: RequestOptions & { idempotencyKey?: string },
  ): Promise<Job> {
    const { value } = await this.#http.json<WireJob>({
      method: 'POST',
      path: `/v1/jobs/${encodeURIComponent(this.id)}/${action}`,
      ...(body === undefined ? {} : { json: JSON.stringify(body) }),
      idempotencyKey,
      options,
    });
    return this.#see(toJob(value));
  }

  #see(job: Job): Job {
    this.#latest = job;
    return job;
  }
}
