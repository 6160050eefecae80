import { newId } from '@batch-infer/contracts';
import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import { Inject, Injectable } from '@nestjs/common';
import { type JobPlan, JobPlans } from '../plan/job-plans.js';
import { PlanningEnded } from '../plan/planning-ended.js';
import { needsPlanner } from '../plan/wants-plan.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { isSmallJob, type JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, LEDGER, SIGNALS } from '../tokens.js';
import { JobSlots } from './job-slots.js';
import { JobTries } from './job-tries.js';
import { judge, modelsOf, shardsOf } from './judge.js';

/** A creator hands its job over by signal; only jobs older than this are looked for. */
const LEFT_BEHIND_MS = 2_000;
const LISTED_JOBS = 32;
/** How long a claim on the making of a plan holds; it is renewed every third of it. */
const CLAIM_MS = 15_000;
/** Orders that one process looks for at once: each takes up to some hundred megabytes. */
const PARALLEL_PLANS = 2;

/**
 * Plans `validating` jobs: judges their file by their options, finds the answers that earlier jobs have for them and the
 * order in which the rest is best run, and inserts their shards. Both are only speed: without them all runs in input order.
 *
 * Every step is a compare-and-set on the job, so that two planners (or one that died midway) do no harm. A job that cannot
 * be planned has tries and a backoff of its own (`JobTries`), and stops no other.
 */
@Injectable()
export class Planner {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #plans: JobPlans;
  readonly #tries: JobTries;
  readonly #owner = newId('run');
  readonly #slots = new JobSlots();
  /** Jobs that wait until fewer orders are looked for. */
  readonly #waiting = new Set<string>();
  #plansUnderWay = 0;
  #draining = false;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(JobPlans) plans: JobPlans,
    @Inject(JobTries) tries: JobTries,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#signals = signals;
    this.#plans = plans;
    this.#tries = tries;
    signals.once('draining', () => {
      this.#draining = true;
    });
  }

  /**
   * Plans the jobs that wait, and with `jobId` those that were handed over in this very moment. Safe to call while an
   * earlier call still runs.
   * @returns how many it planned or refused
   * @throws the ledger's error
   */
  async tick(jobId?: string): Promise<number> {
    let planned = 0;
    for (;;) {
      const ended = (await Promise.all(await this.begin(jobId))).filter(Boolean).length;
      if (ended === 0) return planned;
      planned += ended;
    }
  }

  /** Takes up jobs that wait, as many as there is room for, small ones first; each tells whether it was planned. */
  async begin(jobId?: string): Promise<Promise<boolean>[]> {
    const nowMs = this.#clock.nowMs();
    const createdBeforeMs = jobId === undefined ? nowMs - LEFT_BEHIND_MS : Number.MAX_SAFE_INTEGER;
    const begun: Promise<boolean>[] = [];
    for (const small of [true, false]) {
      const due = await this.#ledger.listUnplanned({ createdBeforeMs, small, limit: LISTED_JOBS, nowMs });
      // What was handed over just now goes first: somebody waits for it.
      due.sort((left, right) => Number(right.id === jobId) - Number(left.id === jobId));
      for (const job of due) if (this.#mayBegin(job)) begun.push(this.#begin(job));
    }
    return begun;
  }

  #mayBegin(job: JobRecord): boolean {
    if (this.#draining || this.#slots.has(job.id)) return false;
    if (this.#waiting.has(job.id) && this.#plansUnderWay >= PARALLEL_PLANS) return false;
    return this.#slots.hasRoom(isSmallJob(job));
  }

  async #begin(job: JobRecord): Promise<boolean> {
    this.#slots.take(job);
    this.#waiting.delete(job.id);
    try {
      return await this.#plan(job);
    } catch (error) {
      if (error instanceof PlanningEnded) return false;
      return await this.#tries.failed({ job, owner: this.#owner, code: 'plan_failed', error });
    } finally {
      this.#slots.free(job.id);
    }
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
      return await this.#insert(job, summary, {
        shards,
        work: null,
        reuse: null,
        reused: 0,
        begunAtMs: this.#clock.nowMs(),
      });
    }
    // Small jobs take next to nothing: they do not wait behind large ones.
    if (isSmallJob(job)) return await this.#makePlan(job, summary);
    if (this.#plansUnderWay >= PARALLEL_PLANS) {
      this.#waiting.add(job.id);
      return false;
    }
    this.#plansUnderWay += 1;
    try {
      return await this.#makePlan(job, summary);
    } finally {
      this.#plansUnderWay -= 1;
    }
  }

  async #makePlan(job: JobRecord, summary: ScanSummary): Promise<boolean> {
    const onProgress = await this.#claim(job);
    const plan = await this.#plans.make({ job, summary, onProgress });
    return await this.#plans.record(plan, () => this.#insert(job, summary, plan));
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
