import { isTerminal, toJobStatus } from '@batch-infer/contracts';
import type { BatchExtension, Job, WaitingReason } from '@batch-infer/contracts/native';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { type JobWebhookView, WEBHOOK_EVENT_TYPES } from '@batch-infer/contracts/webhooks';
import type { OfferPublisher } from '@batch-infer/transport';
import { Inject, Injectable } from '@nestjs/common';
import { isUploadedFile } from '../files/files.js';
import type { Clock } from '../ports/clock.js';
import { isOfLane } from '../ports/lanes.js';
import type { JobActivity, Ledger, QueuePosition } from '../ports/ledger.js';
import type { StoredLaneProblem } from '../ports/offer-lanes.js';
import type { JobRecord } from '../ports/records.js';
import { type RunnerRecord, servesProject } from '../ports/runners.js';
import { CLOCK, LEDGER, OFFER_PUBLISHER } from '../tokens.js';
import { isPaused, type QueueFacts, waitingReasons } from './job-queue.js';

/** The rate of a running job is measured over this. */
const ACTIVITY_WINDOW_MS = 30_000;
/** How long lanes' problems are kept before they are read again, and how old those of other processes may be. */
const LANES_KEPT_MS = 2_000;
const LANE_PROBLEM_MS = 60_000;
const LANE_PROBLEMS_MAX = 1_000;
/** A runner that was not heard of for longer does not count as serving. */
export const RUNNER_SEEN_MS = 30_000;

const IDLE: JobActivity = {
  runningItems: 0,
  settledItems: 0,
  settledUsage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
  oldestSettledAtMs: null,
  oldestLeaseAtMs: null,
  lastSettledAtMs: null,
  settleIntervalMs: null,
};

/** Jobs as the native API shows them: the row, and what can be said about its progress now. */
@Injectable()
export class JobViews {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #publisher: OfferPublisher;
  #lanes: readonly StoredLaneProblem[] = [];
  #lanesReadMs = Number.NEGATIVE_INFINITY;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(OFFER_PUBLISHER) publisher: OfferPublisher,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#publisher = publisher;
  }

  /** A page of jobs of one project; the runners are asked for once. */
  async page(jobs: readonly JobRecord[]): Promise<Job[]> {
    const open = jobs.find(({ state }) => !isTerminal(state));
    const runners = open === undefined ? [] : await this.#runners(open.projectId);
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
    const runners = ended ? [] : (knownRunners ?? (await this.#runners(job.projectId)));
    const waits = (job.state === 'queued' || job.state === 'running') && left > running && !isPaused(job);
    const ahead =
      waits && activity.runningItems === 0 ? await this.#ledger.queuePosition({ jobId: job.id }) : null;
    const budget = ahead === null ? null : await this.#ledger.budgetOf({ jobId: job.id });
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
      reused_items: job.reused,
      progress: progressOf({ job, activity, left, nowMs, ahead, runners }),
      queue: ended
        ? { position: null, waiting_for: [] }
        : await this.#queue({ job, activity, runners, nowMs, ahead }, budget),
      usage: {
        input_tokens: job.usage.inputTokens,
        cached_input_tokens: job.usage.cachedInputTokens,
        output_tokens: job.usage.outputTokens,
      },
      errors: job.errorGroups.map(({ code, message, count, sample }) => ({ code, message, count, sample })),
      input_errors: job.inputErrors.map(({ line, param, code, message }) => ({ line, param, code, message })),
      input_file_id: isUploadedFile(job.inputBlobKey) ? job.inputFileId : null,
      output_file_id: isOfLane(job.options.metadata) ? null : job.outputFileId,
      error_file_id: isOfLane(job.options.metadata) ? null : job.errorFileId,
      created_at: time(job.createdAtMs),
      started_at: timeOrNull(job.startedAtMs),
      finished_at: timeOrNull(job.finishedAtMs),
      expires_at: time(job.expiresAtMs),
      completion_window: job.completionWindow,
      metadata: job.options.metadata ?? {},
      webhook: webhookOf(job),
      links: {
        self: `/v1/jobs/${job.id}`,
        results: `/v1/jobs/${job.id}/results`,
        errors: `/v1/jobs/${job.id}/errors`,
        cancel: `/v1/jobs/${job.id}/cancel`,
      },
    };
  }

  /** What batches of the other dialects say beside their own fields: nothing while nothing is waited for. */
  async extensionOf(job: JobRecord): Promise<{ x_batch_infer?: BatchExtension }> {
    if (isTerminal(job.state)) return {};
    const { waiting_for } = (await this.of(job)).queue;
    return waiting_for.length === 0 ? {} : { x_batch_infer: { waiting_for } };
  }

  /**
   * Why each of these jobs waits, as their views say it, without their place in the queue: for whoever looks at many.
   * @param busyModels models of which shards run now: a job that waits for one of them waits for its turn
   */
  async waitingReasons(
    jobs: readonly JobRecord[],
    { runners, busyModels }: { runners: readonly RunnerRecord[]; busyModels: ReadonlySet<string> },
  ): Promise<{ job: JobRecord; reasons: WaitingReason[] }[]> {
    const nowMs = this.#clock.nowMs();
    const found: { job: JobRecord; reasons: WaitingReason[] }[] = [];
    for (const job of jobs) {
      const activity = await this.#ledger.jobActivity({ jobId: job.id, nowMs, windowMs: ACTIVITY_WINDOW_MS });
      const otherProjects = job.models.some((model) => busyModels.has(model)) ? 1 : 0;
      const ahead = { jobsAhead: 0, itemsAhead: 0, otherProjects, heldItems: 0, maxRunningItems: null };
      const own = runners
        .filter((runner) => servesProject(runner, job.projectId))
        .map(({ report }) => report);
      const { waiting_for } = await this.#queue({ job, activity, runners: own, nowMs, ahead }, null);
      found.push({ job, reasons: waiting_for });
    }
    return found;
  }

  async #runners(projectId: string): Promise<RunnerReport[]> {
    const seenAfterMs = this.#clock.nowMs() - RUNNER_SEEN_MS;
    const runners = await this.#ledger.listRunners({ seenAfterMs, projectId });
    return runners.map(({ report }) => report);
  }

  /** Lanes with a problem, as this process or another one that publishes met it; looked up again after some seconds. */
  async #laneProblems(nowMs: number): Promise<QueueFacts['lanes']> {
    const { lanes } = this.#publisher;
    if (lanes === undefined) return [];
    if (nowMs - this.#lanesReadMs >= LANES_KEPT_MS) {
      this.#lanesReadMs = nowMs;
      this.#lanes = await this.#ledger.listLaneProblems({
        seenAfterMs: nowMs - LANE_PROBLEM_MS,
        limit: LANE_PROBLEMS_MAX,
      });
    }
    return [...lanes.problems(), ...this.#lanes];
  }

  async #queue(
    facts: ProgressFacts,
    budget: NonNullable<QueueFacts['budget']> | null,
  ): Promise<Job['queue']> {
    const { job, activity, runners, nowMs, ahead } = facts;
    const begunAtMs = Math.max(
      job.queuedAtMs ?? 0,
      job.startedAtMs ?? 0,
      activity.lastSettledAtMs ?? 0,
      activity.oldestLeaseAtMs ?? 0,
      // A job that was never queued waits since it was made.
      job.queuedAtMs === null ? job.createdAtMs : 0,
    );
    return {
      position: ahead === null ? null : ahead.jobsAhead + 1,
      waiting_for: waitingReasons(job, {
        nowMs,
        runners,
        transport: this.#publisher.health(),
        lanes: await this.#laneProblems(nowMs),
        runningItems: activity.runningItems,
        ahead,
        budget,
        idleMs: nowMs - begunAtMs,
        settleIntervalMs: activity.settleIntervalMs,
      }),
    };
  }
}

/** Without the secret, whatever else the option may hold. */
function webhookOf({ options }: JobRecord): JobWebhookView | null {
  if (options.webhook === undefined) return null;
  const { url, events = WEBHOOK_EVENT_TYPES } = options.webhook;
  return { url, events: [...events] };
}

interface ProgressFacts {
  readonly job: JobRecord;
  readonly activity: JobActivity;
  readonly runners: readonly RunnerReport[];
  readonly ahead: QueuePosition | null;
  readonly nowMs: number;
}

function progressOf(facts: ProgressFacts & { readonly left: number }): Job['progress'] {
  const { job, activity, left, nowMs } = facts;
  const sinceMs = Math.max(job.startedAtMs ?? nowMs, nowMs - ACTIVITY_WINDOW_MS);
  const seconds = Math.max(0.001, (nowMs - sinceMs) / 1_000);
  const itemsPerSecond = activity.settledItems / seconds;
  return {
    items_per_second: round(itemsPerSecond),
    output_tokens_per_second: round(activity.settledUsage.outputTokens / seconds),
    eta_seconds:
      left === 0 || isPaused(job)
        ? null
        : itemsPerSecond > 0
          ? Math.ceil(left / itemsPerSecond)
          : waitingEta(facts),
  };
}

/**
 * When a job that waits will have ended, from what the runners of its models get done now: what its project has ahead of
 * it and itself, at its project's share. `null` when nothing is being done that could be measured.
 */
function waitingEta({ job, left, runners, ahead }: ProgressFacts & { readonly left: number }): number | null {
  if (ahead === null) return null;
  const itemsPerSecond = runners
    .filter(({ models }) => models.some((model) => job.models.includes(model)))
    .reduce((sum, { items_per_second: rate }) => sum + rate, 0);
  if (itemsPerSecond <= 0) return null;
  return Math.ceil(((ahead.itemsAhead + left) * (1 + ahead.otherProjects)) / itemsPerSecond);
}

const round = (value: number): number => Math.round(value * 10) / 10;
const time = (atMs: number): string => new Date(atMs).toISOString();
const timeOrNull = (atMs: number | null): string | null => (atMs === null ? null : time(atMs));
