import { isTerminal, toJobStatus } from '@batch-infer/contracts';
import type { Job } from '@batch-infer/contracts/native';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher } from '@batch-infer/transport';
import { Inject, Injectable } from '@nestjs/common';
import { isUploadedFile } from '../files/files.js';
import type { Clock } from '../ports/clock.js';
import type { JobActivity, Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import { CLOCK, LEDGER, OFFER_PUBLISHER } from '../tokens.js';
import { isPaused, waitingReasons } from './job-queue.js';

/** The rate of a running job is measured over this. */
const ACTIVITY_WINDOW_MS = 30_000;
/** A runner that was not heard of for longer does not count as serving. */
export const RUNNER_SEEN_MS = 30_000;

const IDLE: JobActivity = {
  runningItems: 0,
  settledItems: 0,
  settledUsage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
  oldestSettledAtMs: null,
};

/** Jobs as the native API shows them: the row, and what can be said about its progress now. */
@Injectable()
export class JobViews {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #publisher: OfferPublisher;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(OFFER_PUBLISHER) publisher: OfferPublisher,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#publisher = publisher;
  }

  /** A page of jobs; the runners are asked for once. */
  async page(jobs: readonly JobRecord[]): Promise<Job[]> {
    const runners = jobs.some(({ state }) => !isTerminal(state)) ? await this.#runners() : [];
    return await Promise.all(jobs.map((job) => this.of(job, runners)));
  }

  async of(job: JobRecord, knownRunners?: readonly RunnerReport[]): Promise<Job> {
    const nowMs = this.#clock.nowMs();
    const ended = isTerminal(job.state);
    const activity = ended
      ? IDLE
      : await this.#ledger.jobActivity({ jobId: job.id, nowMs, windowMs: ACTIVITY_WINDOW_MS });
    // During a retry, `cancelled` and `expired` are the never-run items that it leaves out.
    const settled = job.succeeded + job.failed + job.cancelled + job.expired;
    const left = ended ? 0 : Math.max(0, job.total - settled);
    const running = Math.min(activity.runningItems, left);
    const queue = ended
      ? { position: null, waiting_for: [] }
      : await this.#queue(job, activity, knownRunners ?? (await this.#runners()), nowMs);
    return {
      id: job.id,
      object: 'job',
      status: toJobStatus(job.state),
      phase: job.state,
      paused: isPaused(job),
      endpoint: job.options.endpoint ?? null,
      models: [...job.models],
      priority: job.priority,
      counts: {
        total: job.total,
        queued: left - running,
        running,
        succeeded: job.succeeded,
        failed: job.failed,
        cancelled: job.cancelled,
        expired: job.expired,
      },
      progress: progressOf(job, activity, left, nowMs),
      queue,
      usage: {
        input_tokens: job.usage.inputTokens,
        cached_input_tokens: job.usage.cachedInputTokens,
        output_tokens: job.usage.outputTokens,
      },
      errors: job.errorGroups.map(({ code, message, count, sample }) => ({ code, message, count, sample })),
      input_errors: job.inputErrors.map(({ line, param, code, message }) => ({ line, param, code, message })),
      input_file_id: isUploadedFile(job.inputBlobKey) ? job.inputFileId : null,
      output_file_id: job.outputFileId,
      error_file_id: job.errorFileId,
      created_at: time(job.createdAtMs),
      started_at: timeOrNull(job.startedAtMs),
      finished_at: timeOrNull(job.finishedAtMs),
      expires_at: time(job.expiresAtMs),
      completion_window: job.completionWindow,
      metadata: job.options.metadata ?? {},
      links: {
        self: `/v1/jobs/${job.id}`,
        results: `/v1/jobs/${job.id}/results`,
        errors: `/v1/jobs/${job.id}/errors`,
        cancel: `/v1/jobs/${job.id}/cancel`,
      },
    };
  }

  async #runners(): Promise<RunnerReport[]> {
    const runners = await this.#ledger.listRunners({ seenAfterMs: this.#clock.nowMs() - RUNNER_SEEN_MS });
    return runners.map(({ report }) => report);
  }

  async #queue(
    job: JobRecord,
    activity: JobActivity,
    runners: readonly RunnerReport[],
    nowMs: number,
  ): Promise<Job['queue']> {
    const waits = job.state === 'queued' && activity.runningItems === 0 && !isPaused(job);
    const ahead = waits ? await this.#ledger.queuePosition({ jobId: job.id }) : null;
    const movedAtMs = Math.max(job.queuedAtMs ?? 0, job.startedAtMs ?? 0, activity.oldestSettledAtMs ?? 0);
    return {
      position: ahead === null ? null : ahead.jobsAhead + 1,
      waiting_for: waitingReasons(job, {
        runners,
        transport: this.#publisher.health(),
        runningItems: activity.runningItems,
        recentItems: activity.settledItems,
        ahead,
        idleMs: nowMs - movedAtMs,
      }),
    };
  }
}

function progressOf(job: JobRecord, activity: JobActivity, left: number, nowMs: number): Job['progress'] {
  const sinceMs = Math.max(job.startedAtMs ?? nowMs, nowMs - ACTIVITY_WINDOW_MS);
  const seconds = Math.max(0.001, (nowMs - sinceMs) / 1_000);
  const itemsPerSecond = activity.settledItems / seconds;
  return {
    items_per_second: round(itemsPerSecond),
    output_tokens_per_second: round(activity.settledUsage.outputTokens / seconds),
    eta_seconds: itemsPerSecond > 0 && left > 0 ? Math.ceil(left / itemsPerSecond) : null,
  };
}

const round = (value: number): number => Math.round(value * 10) / 10;
const time = (atMs: number): string => new Date(atMs).toISOString();
const timeOrNull = (atMs: number | null): string | null => (atMs === null ? null : time(atMs));
