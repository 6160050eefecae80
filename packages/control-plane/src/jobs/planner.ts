import { newId } from '@batch-infer/contracts';
import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { wantsPlan } from '../plan/wants-plan.js';
import { type WorkPlan, WorkPlans } from '../plan/work-plans.js';
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

/** The plan is not ours to make any more: another planner has the job, it was ended, or this process is about to end. */
class PlanningEnded extends Error {
  override readonly name = 'PlanningEnded';
}

/**
 * Plans `validating` jobs: judges their file by their options, finds the order in which their items are best run, and
 * inserts their shards. An order is only speed: when it cannot be found, the job runs in input order.
 *
 * Every step is a compare-and-set on the job, so that two planners (or one that died midway) do no harm.
 */
@Injectable()
export class Planner {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #logger: Logger;
  readonly #plans: WorkPlans;
  readonly #owner = newId('run');
  /** Jobs that this process works on. */
  readonly #active = new Set<string>();
  #plansUnderWay = 0;
  #draining = false;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(LOGGER) logger: Logger,
    @Inject(WorkPlans) plans: WorkPlans,
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
    const waiting = await this.#ledger.listUnplanned({ createdBeforeMs, limit: JOBS_PER_TICK });
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
    if (job.state !== 'validating' || !wantsPlan(summary, options)) {
      return await this.#insert(job, summary, null);
    }
    if (this.#plansUnderWay >= PARALLEL_PLANS) return false;
    this.#plansUnderWay += 1;
    try {
      return await this.#planOrder(job, summary);
    } catch (error) {
      if (error instanceof PlanningEnded) return false;
      throw error;
    } finally {
      this.#plansUnderWay -= 1;
    }
  }

  async #planOrder(job: JobRecord, summary: ScanSummary): Promise<boolean> {
    const onProgress = await this.#claim(job);
    const startedMs = performance.now();
    const plan = await this.#plans.make({ job, summary, onProgress }).catch((error: unknown) => {
      if (error instanceof PlanningEnded) throw error;
      this.#logger.warn({ jobId: job.id, err: error }, 'no plan could be made; the job runs in input order');
      return null;
    });
    let inserted = false;
    try {
      inserted = await this.#insert(job, summary, plan);
    } finally {
      if (plan !== null && !inserted) await this.#plans.discard(plan);
    }
    const durationMs = Math.round(performance.now() - startedMs);
    this.#logger.info(
      { jobId: job.id, items: summary.items, reordered: plan !== null, durationMs },
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

  async #insert(job: JobRecord, summary: ScanSummary, plan: WorkPlan | null): Promise<boolean> {
    const planned = await this.#ledger.planJob({
      jobId: job.id,
      shards: plan?.shards ?? shardsOf(summary, job.options),
      models: modelsOf(summary, job.options),
      ...(plan === null ? {} : { work: plan }),
      nowMs: this.#clock.nowMs(),
    });
    if (planned) {
      this.#signals.emit('work-ready');
      this.#signals.emit('job-changed', job.id);
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
