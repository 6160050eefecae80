import { JOB_STATES } from '@batch-infer/contracts';
import { WAITING_CODES, type WaitingReason } from '@batch-infer/contracts/native';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import { JobViews, RUNNER_SEEN_MS } from '../jobs/job-views.js';
import { OPEN_STATES } from '../ledger/states.js';
import type { Clock } from '../ports/clock.js';
import type { LaneBacklog, Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import { OTHER_MODELS, SHOWN_MODELS } from '../telemetry/ledger-gauges.js';
import type { Logger } from '../telemetry/logger.js';
import { Metrics } from '../telemetry/metrics.js';
import { CLOCK, LEDGER, LOGGER } from '../tokens.js';
import { servedModels } from './served-models.js';

/** A job that has not gone on for so long is asked why. */
const SILENT_MS = 10_000;
/** Jobs asked in one tick: of each project and state, and in all. */
const PER_PROJECT = 3;
const LIMIT = 100;
/** Planning, finalizing and stopping take their time with large jobs; beyond this they are said to be stalled. */
const SLOW_PHASE_MS = 300_000;
/** A stall that lasts is told of again after this. */
const REPEAT_MS = 60_000;
/** Models with work and without a runner that are named; each is one series. */
const UNSERVED_MODELS = 10;

type Code = WaitingReason['code'];
const FAILURES: readonly Code[] = ['stalled', 'plan_failed', 'finalize_failed'];
const PHASES: readonly Code[] = ['planning', 'finalizing', 'stopping'];

interface Told {
  readonly firstMs: number;
  readonly lastMs: number;
  readonly times: number;
}

/**
 * Says what jobs wait for and which of them are stalled: gauges for alerts, and log lines that name the job and its reason.
 * One bounded look every some seconds, whatever there is to look at and however often somebody scrapes.
 */
@Injectable()
export class StallWatch {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #views: JobViews;
  readonly #metrics: Metrics;
  readonly #logger: Logger;
  #stalled: ReadonlyMap<string, Told> = new Map();

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(JobViews) views: JobViews,
    @Inject(Metrics) metrics: Metrics,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#views = views;
    this.#metrics = metrics;
    this.#logger = logger;
  }

  async tick(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const seen = await this.#ledger.listRunners({ seenAfterMs: nowMs - RUNNER_SEEN_MS });
    const runners = seen.map(({ report }) => report);
    const served = servedModels(runners, SHOWN_MODELS);
    const backlog = await this.#ledger.backlog({ models: [...served], others: OTHER_MODELS });
    const silent = await this.#ledger.listSilent({
      sinceMs: nowMs - SILENT_MS,
      perProject: PER_PROJECT,
      limit: LIMIT,
    });
    const busyModels = busyModelsOf(backlog);
    const waiting = await this.#views.waitingReasons(silent, { runners: seen, busyModels });
    await this.#count(waiting, nowMs);
    this.#countRunners(runners, served, waiting);
    this.#tellStalls(waiting, nowMs);
  }

  async #count(waiting: readonly { reasons: readonly WaitingReason[] }[], nowMs: number): Promise<void> {
    const { jobs, jobsWaiting, jobsOldestWaiting } = this.#metrics;
    const byState = new Map<string, number>(OPEN_STATES.map((state) => [state, 0]));
    const byCode = new Map<Code, { jobs: number; sinceMs: number }>();
    const add = (code: Code, count: number, sinceMs: number) => {
      const before = byCode.get(code) ?? { jobs: 0, sinceMs: nowMs };
      byCode.set(code, { jobs: before.jobs + count, sinceMs: Math.min(before.sinceMs, sinceMs) });
    };
    for (const { state, wait, jobs: count, sinceMs } of await this.#ledger.countOpenJobs()) {
      byState.set(state, (byState.get(state) ?? 0) + count);
      if (wait !== null) add(wait, count, sinceMs);
    }
    for (const { reasons } of waiting) {
      for (const { code, since } of reasons) add(code, 1, since === undefined ? nowMs : Date.parse(since));
    }
    for (const state of JOB_STATES) if (byState.has(state)) jobs.set({ state }, byState.get(state) ?? 0);
    for (const reason of WAITING_CODES) {
      const found = byCode.get(reason);
      jobsWaiting.set({ reason }, found?.jobs ?? 0);
      jobsOldestWaiting.set({ reason }, found === undefined ? 0 : (nowMs - found.sinceMs) / 1_000);
    }
  }

  #countRunners(
    runners: readonly RunnerReport[],
    served: ReadonlySet<string>,
    waiting: readonly { job: JobRecord }[],
  ): void {
    const { modelRunners } = this.#metrics;
    modelRunners.reset();
    for (const model of served)
      modelRunners.set({ model }, runners.filter(({ models }) => models.includes(model)).length);
    const unserved = new Set(
      waiting.flatMap(({ job }) =>
        job.models.filter((model) => !served.has(model)).slice(0, UNSERVED_MODELS),
      ),
    );
    for (const model of [...unserved].sort().slice(0, UNSERVED_MODELS)) modelRunners.set({ model }, 0);
    if (unserved.size > UNSERVED_MODELS) modelRunners.set({ model: OTHER_MODELS }, 0);
  }

  #tellStalls(
    waiting: readonly { job: JobRecord; reasons: readonly WaitingReason[] }[],
    nowMs: number,
  ): void {
    const stalled = new Map<string, Told>();
    for (const { job, reasons } of waiting) {
      if (!reasons.some((reason) => isStall(reason, nowMs))) continue;
      const told = this.#stalled.get(job.id);
      if (told !== undefined && nowMs - told.lastMs < REPEAT_MS) {
        stalled.set(job.id, told);
        continue;
      }
      const times = (told?.times ?? 0) + 1;
      const firstMs = told?.firstMs ?? nowMs;
      stalled.set(job.id, { firstMs, lastMs: nowMs, times });
      this.#logger.warn(
        {
          jobId: job.id,
          projectId: job.projectId,
          models: job.models.slice(0, UNSERVED_MODELS),
          code: reasons[0]?.code,
          reason: reasons.map(({ message }) => message).join(' '),
          times,
          stalledSeconds: Math.round((nowMs - firstMs) / 1_000),
        },
        'job stalled',
      );
    }
    for (const jobId of this.#stalled.keys()) {
      if (!stalled.has(jobId)) this.#logger.info({ jobId }, 'job no longer stalled');
    }
    this.#stalled = stalled;
    this.#metrics.jobsStalled.set(stalled.size);
  }
}

const isStall = ({ code, since }: WaitingReason, nowMs: number): boolean =>
  FAILURES.includes(code) ||
  (PHASES.includes(code) && since !== undefined && nowMs - Date.parse(since) > SLOW_PHASE_MS);

const busyModelsOf = (backlog: readonly LaneBacklog[]): ReadonlySet<string> =>
  new Set(backlog.filter(({ leasedShards }) => leasedShards > 0).map(({ model }) => model));
