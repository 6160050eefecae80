import type { JobState } from '@batch-infer/contracts';
import { isTerminal, toJobId, toJobStatus } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import { JobWatch } from '../events/job-watch.js';
import { shownId } from '../files/files.js';
import { dropObjects } from '../files/record-objects.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { BLOBS, CLOCK, LEDGER, SIGNALS } from '../tokens.js';
import { windowMs } from './new-job.js';

/** How often a long poll looks by itself: changes made by other control planes send no signal here. */
const POLL_INTERVAL_MS = 500;

export type RetryStatus = 'failed' | 'expired' | 'cancelled';

export interface JobFilter {
  readonly states?: readonly JobState[];
  readonly model?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly createdAfterMs?: number;
  readonly dialect?: string;
  readonly after?: string;
  /** The page just before this job; still newest first. */
  readonly before?: string;
}

/** Reads and steers jobs. Every id may be of any dialect; an unknown id and a foreign one are the same. */
@Injectable()
export class Jobs {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #watch: JobWatch;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(JobWatch) watch: JobWatch,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#signals = signals;
    this.#watch = watch;
  }

  /** @throws DomainError `not_found` */
  async get(projectId: string, id: string): Promise<JobRecord> {
    const job = await this.#ledger.getJob({ projectId, id: toJobId(id) });
    if (job === null) throw notFound(id);
    return job;
  }

  /**
   * The job as soon as its status differs from what it is now, at once when it has ended, or as it is after `waitMs` or
   * when the process is about to end.
   * @throws DomainError `not_found`; the signal's reason
   */
  async wait(params: {
    projectId: string;
    id: string;
    waitMs: number;
    signal: AbortSignal;
  }): Promise<JobRecord> {
    const { projectId, id, waitMs, signal } = params;
    const first = await this.get(projectId, id);
    if (isTerminal(first.state)) return first;
    const deadline = performance.now() + waitMs;
    using watcher = this.#watch.open(first.id);
    let job = first;
    while (toJobStatus(job.state) === toJobStatus(first.state)) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0 || this.#watch.draining) break;
      await watcher.next(Math.min(leftMs, POLL_INTERVAL_MS), signal);
      job = await this.get(projectId, id);
    }
    return job;
  }

  /**
   * Newest first. `after` is the id of the last job of the page before, `before` that of the first of the page behind.
   * `hasMore`: there are more in the direction that was read.
   */
  async list(params: {
    projectId: string;
    limit: number;
    filter: JobFilter;
  }): Promise<{ jobs: JobRecord[]; hasMore: boolean }> {
    const { projectId, limit, filter } = params;
    const after = filter.after === undefined ? {} : { after: toJobId(filter.after) };
    const before = filter.before === undefined ? {} : { before: toJobId(filter.before) };
    const found = await this.#ledger.listJobs({
      projectId,
      ...filter,
      ...after,
      ...before,
      limit: limit + 1,
    });
    const jobs = filter.before === undefined ? found.slice(0, limit) : found.slice(-limit);
    return { jobs, hasMore: found.length > limit };
  }

  /**
   * Asks for the end of a job. Idempotent. A job whose results cannot be written is given up.
   * @throws DomainError `not_found`, `job_already_ended`, also while its results are being written
   */
  async cancel(projectId: string, id: string): Promise<JobRecord> {
    const jobId = toJobId(id);
    const stopped = await this.#ledger.stopJob({
      projectId,
      id: jobId,
      reason: 'cancelled',
      nowMs: this.#clock.nowMs(),
    });
    if (stopped === null) throw notFound(id);
    if (stopped.outcome === 'ended') {
      if (stopped.job.state === 'cancelled') return stopped.job;
      throw new DomainError(
        'job_already_ended',
        `Job ${id} has already ended: it is ${toJobStatus(stopped.job.state)}.`,
      );
    }
    if (stopped.job.state === 'finalizing' && !isBeingCancelled(stopped.job)) {
      throw new DomainError(
        'job_already_ended',
        `All items of job ${id} have ended, and its results are being written: there is nothing left to cancel.`,
      );
    }
    this.#signals.emit('job-stopping', jobId, 'cancelled');
    if (stopped.job.state === 'finalizing') this.#signals.emit('job-finalizing', jobId);
    this.#signals.emit('job-changed', jobId);
    return stopped.job;
  }

  /**
   * Runs items of an ended job again, under the same id and with a new completion window. With `repeated` the request
   * may have come before: a job that is running then is the answer to it.
   * @throws DomainError `not_found`, `job_not_ended`, `nothing_to_retry`, `invalid_request` (its input was deleted)
   */
  async retry(params: {
    projectId: string;
    id: string;
    statuses: readonly RetryStatus[];
    repeated: boolean;
  }): Promise<{ job: JobRecord; replayed: boolean }> {
    const { projectId, id, statuses, repeated } = params;
    const job = await this.get(projectId, id);
    const nowMs = this.#clock.nowMs();
    const expiresAtMs = nowMs + windowMs(job.completionWindow);
    const retried = await this.#ledger.retryJob({ projectId, id: job.id, statuses, expiresAtMs, nowMs });
    switch (retried?.outcome) {
      case undefined:
        throw notFound(id);
      case 'running':
        if (repeated) return { job, replayed: true };
        throw new DomainError(
          'job_not_ended',
          `Job ${id} has not ended; items can be run again when it has. Wait for it, or cancel it first.`,
        );
      case 'nothing':
        throw new DomainError(
          'nothing_to_retry',
          `Job ${id} has no item with the status ${statuses.join(' or ')}.`,
        );
      case 'input_gone':
        throw new DomainError(
          'invalid_request',
          `The input file of job ${id} was deleted, so that its items cannot be run again. Submit them as a new job.`,
        );
      case 'retrying':
        await this.#deleteFiles(projectId, retried.obsoleteFileIds);
        this.#signals.emit('work-ready');
        this.#signals.emit('job-changed', job.id);
        return { job: retried.job, replayed: false };
    }
  }

  /** Removes an ended job with its results. @throws DomainError `not_found`, `job_not_ended` */
  async delete(projectId: string, id: string): Promise<void> {
    const deleted = await this.#ledger.deleteJob({ projectId, id: toJobId(id) });
    if (deleted.outcome !== 'deleted') {
      if (deleted.outcome === 'not_found') throw notFound(id);
      throw new DomainError(
        'job_not_ended',
        `Job ${id} has not ended. Cancel it, wait for its end, then delete it.`,
      );
    }
    await dropObjects(this.#blobs, deleted.blobKeys);
  }

  async #deleteFiles(projectId: string, ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const deleted = await this.#ledger.deleteFile({ projectId, id });
      if (deleted.outcome === 'deleted') await dropObjects(this.#blobs, [deleted.blobKey]);
    }
  }
}

/** Stopped by a cancel, or to be given up because of one. */
const isBeingCancelled = ({ endReason, giveUpAtMs }: JobRecord): boolean =>
  endReason === 'cancelled' || giveUpAtMs !== null;

const notFound = (id: string): DomainError =>
  new DomainError('not_found', `No job has the id ${shownId(id)}.`);
