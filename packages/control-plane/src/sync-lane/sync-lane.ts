import type { Endpoint } from '@batch-infer/contracts';
import { isTerminal, LIMITS } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import { JobWatch } from '../events/job-watch.js';
import type { CreateAttempt } from '../ingest/fingerprint.js';
import { type WholeItem, wholeItem } from '../jobs/ended-item.js';
import { EVERYTHING } from '../jobs/item-reader.js';
import { JobCreation } from '../jobs/job-creation.js';
import { Jobs } from '../jobs/jobs.js';
import { Results } from '../jobs/results.js';
import { SYNC_LANE_METADATA } from '../ports/lanes.js';
import type { JobRecord } from '../ports/records.js';
import { toRequestError } from './request-error.js';
import { ServedModels } from './served-models.js';

/** How long a request may wait for a runner or in the queue before its job expires, whoever still waits for it. */
const COMPLETION_WINDOW = '1h';

const METADATA = { [SYNC_LANE_METADATA.key]: SYNC_LANE_METADATA.value };

/** The answer is read from where the runner put it: nobody asks for the file that every job leaves. */
export const SHORT_LIVED_OUTPUT = {
  plan_order: 'input',
  output_expires_after_seconds: LIMITS.fileExpiryMinSeconds,
} as const;

/** How often a waiting request looks by itself: at first often, since the item may have ended at another control plane. */
const FIRST_LOOK_MS = 100;
const LONGEST_LOOK_MS = 1_000;

/**
 * Plain requests on the path of the jobs: each is a job of one item at high priority, and the answer is its item's end.
 * So they wait in the queue instead of being refused, survive crashes, and are found again by a repeated request.
 */
@Injectable()
export class SyncLane {
  readonly #creation: JobCreation;
  readonly #jobs: Jobs;
  readonly #results: Results;
  readonly #watch: JobWatch;
  readonly #models: ServedModels;

  constructor(
    @Inject(JobCreation) creation: JobCreation,
    @Inject(Jobs) jobs: Jobs,
    @Inject(Results) results: Results,
    @Inject(JobWatch) watch: JobWatch,
    @Inject(ServedModels) models: ServedModels,
  ) {
    this.#creation = creation;
    this.#jobs = jobs;
    this.#results = results;
    this.#watch = watch;
    this.#models = models;
  }

  /**
   * The job of a request: a new one, or that of the same request sent before. Where that one ended without an answer
   * for a reason that may have passed, its item runs again.
   * @throws DomainError for a request that cannot run; `model_not_served`; `idempotency_key_reused`
   */
  async submit(params: {
    endpoint: Endpoint;
    /** JSON text of what the engine gets. */
    body: Buffer;
    /** The body's `model`. */
    model: unknown;
    attempt: CreateAttempt;
    /** Aborted when the client is gone. */
    signal: AbortSignal;
  }): Promise<{ job: JobRecord; replayed: boolean }> {
    const { endpoint, body, model, attempt, signal } = params;
    if (typeof model === 'string')
      await this.#models.require(model, { projectId: attempt.projectId, signal });
    const { job, replayed } = await this.#creation
      .fromInline({
        input: { kind: 'single', body },
        options: {
          endpoint,
          priority: 'high',
          completion_window: COMPLETION_WINDOW,
          metadata: METADATA,
          ...SHORT_LIVED_OUTPUT,
        },
        attempt,
        signal,
      })
      .catch((error: unknown) => {
        throw toRequestError(error);
      });
    return { job: replayed ? await this.#runAgain(job) : job, replayed };
  }

  async #runAgain(job: JobRecord): Promise<JobRecord> {
    if (!isTerminal(job.state)) return job;
    const item = await this.endOf(job);
    const curable = item === null || item.ended === 'never_run' || item.header.e?.retryable === true;
    if (!curable) return job;
    const retry = { projectId: job.projectId, id: job.id, repeated: true } as const;
    return (await this.#jobs.retry({ ...retry, statuses: ['failed', 'expired', 'cancelled'] })).job;
  }

  /**
   * The end of the job's item as soon as it has one; `null` after `waitMs`. The job is left alone in any case.
   * @throws DomainError `shutting_down`; the signal's reason
   */
  async wait(params: { job: JobRecord; waitMs: number; signal: AbortSignal }): Promise<WholeItem | null> {
    const { job, waitMs, signal } = params;
    using watcher = this.#watch.open(job.id);
    const deadline = performance.now() + waitMs;
    for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(LONGEST_LOOK_MS, lookMs * 2)) {
      const item = await this.endOf(await this.#jobs.get(job.projectId, job.id));
      if (item !== null) return item;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return null;
      if (this.#watch.draining) {
        throw new DomainError(
          'shutting_down',
          `The server is shutting down; the request goes on as job ${job.id}. Send it again to get its answer.`,
        );
      }
      await watcher.next(Math.min(leftMs, lookMs), signal);
    }
  }

  /** The client is gone and wants nothing any more. */
  async cancel(job: JobRecord): Promise<void> {
    await this.#jobs.cancel(job.projectId, job.id);
  }

  /** The end of the job's item; `null` while it has none. */
  async endOf(job: JobRecord): Promise<WholeItem | null> {
    if (job.succeeded + job.failed === 0 && !isTerminal(job.state)) return null;
    const ends = this.#results.read({ job, order: 'completion', after: null, wanted: EVERYTHING });
    for await (const [result] of ends) if (result !== undefined) return await wholeItem(result.item);
    return null;
  }
}
