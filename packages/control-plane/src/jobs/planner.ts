import { LIMITS, newId } from '@batch-infer/contracts';
import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type JobPlan, JobPlans } from '../plan/job-plans.js';
import { PlanningEnded } from '../plan/planning-ended.js';
import { needsPlanner } from '../plan/wants-plan.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, LEDGER, LOGGER, SIGNALS } from '../tokens.js';
import { judge, modelsOf, shardsOf } from './judge.js';

/** A creator hands its job over by signal; only jobs older than this are looked for. */
const ORPHAN_AGE_MS = 2_000;
const JOBS_PER_TICK = 16;
/** How long a claim on the making of a plan holds; it is renewed every third of it. */
const CLAIM_MS = 15_000;
/** Plans that one process makes at once: each takes up to some hundred megabytes. */
const PARALLEL_PLANS = 2;

/**
 * Plans `validating` jobs: judges their file by their options, finds the answers that earlier jobs have for them and the
 * order in which the rest is best run, and inserts their shards. Both are only speed: without them all runs in input order.
 *
 * Every step is a compare-and-set on the job, so that two planners (or one that died midway) do no harm.
 */
@Injectable()
export class Planner {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #logger: Logger;
  readonly #plans: JobPlans;
  readonly #owner = newId('run');
  /** Jobs that this process works on. */
  readonly #active = new Set<string>();
  #largePlansUnderWay = 0;
  #draining = false;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(LOGGER) logger: Logger,
    @Inject(JobPlans) plans: JobPlans,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#signals = signals;
    this.#logger = logger;
    this.#plans = plans;
    signals.once('draining', () => {
      this.#draining = true;
    });
  }

  /**
   * Plans the job that a signal named, and the jobs that a dead process left behind. Safe to call while an earlier call
   * still runs. How many it planned or refused.
   */
  async tick(jobId?: string): Promise<number> {
    // A job that was handed over is taken whatever the time: it may have been created in this very millisecond.
    const createdBeforeMs =
      jobId === undefined ? this.#clock.nowMs() - ORPHAN_AGE_MS : Number.MAX_SAFE_INTEGER;
    const due = { createdBeforeMs, limit: JOBS_PER_TICK, nowMs: this.#clock.nowMs() };
    const waiting = [
      ...(await this.#ledger.listUnplanned({ ...due, small: true })),
      ...(await this.#ledger.listUnplanned({ ...due, small: false })),
    ];
    // Its own job first: others may take long.
    waiting.sort((left, right) => Number(right.id === jobId) - Number(left.id === jobId));
    let planned = 0;
    for (const job of waiting) {
      if (this.#draining || this.#active.has(job.id)) continue;
      this.#active.add(job.id);
      try {
        if (await this.#plan(job)) planned += 1;
      } catch (error) {
        this.#logger.error({ jobId: job.id, err: error }, 'planning failed; it is tried again');
      } finally {
        this.#active.delete(job.id);
      }
    }
    return planned;
  }

  async #plan(job: JobRecord): Promise<boolean> {
    const { options } = job;
    const file = await this.#ledger.getFile({ projectId: job.projectId, id: job.inputFileId });
    const summary = file?.summary ?? null;
    if (summary === null) {
      const message = 'The input file was deleted before the job was planned';
      return await this.#refuse(job, [{ line: null, param: 'input_file_id', code: 'invalid_file', message }]);
    }
    const { errors } = judge({ summary, options, openai: job.dialect === 'openai' });
    if (errors.length > 0) return await this.#refuse(job, errors);
    // Nothing of a job that is being stopped will run.
    if (job.state !== 'validating' || !needsPlanner(summary, options)) {
      const shards = shardsOf(summary, options);
      return await this.#insert(job, summary, { shards, work: null, reuse: null, reused: 0 });
    }
    // Small jobs take next to nothing: they do not wait behind large ones.
    const large = summary.items > LIMITS.shardItems;
    if (large && this.#largePlansUnderWay >= PARALLEL_PLANS) return false;
    if (large) this.#largePlansUnderWay += 1;
    try {
      return await this.#makePlan(job, summary);
    } catch (error) {
      if (error instanceof PlanningEnded) return false;
      throw error;
    } finally {
      if (large) this.#largePlansUnderWay -= 1;
    }
  }

  async #makePlan(job: JobRecord, summary: ScanSummary): Promise<boolean> {
    const onProgress = await this.#claim(job);
    const startedMs = performance.now();
    const plan = await this.#plans.make({ job, summary, onProgress });
    let inserted = false;
    try {
      inserted = await this.#insert(job, summary, plan);
    } finally {
      if (!inserted) await this.#plans.discard(plan);
    }
    const durationMs = Math.round(performance.now() - startedMs);
    this.#logger.info(
      { jobId: job.id, items: summary.items, reordered: plan.work !== null, reused: plan.reused, durationMs },
      'planned',
    );
    return inserted;
  }

  /** Keeps other planners away from a job as long as the answer is called. @throws PlanningEnded */
  async #claim(job: JobRecord): Promise<() => Promise<void>> {
    let renewAtMs = Number.NEGATIVE_INFINITY;
    const renew = async (): Promise<void> => {
      if (this.#draining) throw new PlanningEnded();
      const nowMs = this.#clock.nowMs();
      if (nowMs < renewAtMs) return;
      const claim = { jobId: job.id, owner: this.#owner, claimMs: CLAIM_MS, nowMs };
      if (!(await this.#ledger.claimPlanning(claim))) throw new PlanningEnded();
      renewAtMs = nowMs + CLAIM_MS / 3;
    };
    await renew();
    return renew;
  }

  async #insert(job: JobRecord, summary: ScanSummary, plan: JobPlan): Promise<boolean> {
    const { shards, work, reuse, reused } = plan;
    const planned = await this.#ledger.planJob({
      jobId: job.id,
      shards,
      models: modelsOf(summary, job.options),
      ...(work === null ? {} : { work }),
      ...(reuse === null ? {} : { reuse }),
      nowMs: this.#clock.nowMs(),
    });
    if (planned) {
      this.#signals.emit('work-ready');
      this.#signals.emit('job-changed', job.id);
      if (reused > 0) this.#signals.emit('items-reused', reused);
      if (reused === summary.items) this.#signals.emit('job-finalizing', job.id);
    }
    return planned;
  }

  async #refuse(job: JobRecord, errors: JobRecord['inputErrors']): Promise<boolean> {
    const refused = await this.#ledger.refuseJob({ jobId: job.id, errors, nowMs: this.#clock.nowMs() });
    if (refused) {
      this.#signals.emit('job-changed', job.id);
      this.#signals.emit('job-ended', 'failed');
    }
    return refused;
  }
}
