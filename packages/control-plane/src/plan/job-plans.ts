import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { dropObjects, recordObjects } from '../files/record-objects.js';
import { shardsOf } from '../jobs/judge.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { NewShard } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { PlannedReuse } from '../ports/reuse.js';
import { EarlierAnswers } from '../reuse/earlier-answers.js';
import type { FoundAnswers } from '../reuse/found-answers.js';
import { BLOBS, CLOCK, LOGGER } from '../tokens.js';
import { PlanningEnded } from './planning-ended.js';
import { wantsPlan } from './wants-plan.js';
import type { WorkPlan } from './work-file.js';
import { WorkPlans } from './work-plans.js';

/** What a job is to be planned with: stored, but of no job yet. */
export interface JobPlan {
  readonly shards: readonly NewShard[];
  /** `null`: input order. */
  readonly work: WorkPlan | null;
  /** `null`: it shares no answers with other jobs. */
  readonly reuse: PlannedReuse | null;
  /** Items that have their answer already. */
  readonly reused: number;
  /** When its making began. */
  readonly begunAtMs: number;
}

interface Planning {
  readonly job: JobRecord;
  readonly summary: ScanSummary;
  /** Called every few milliseconds; what it throws ends the work, and nothing stays. */
  readonly onProgress: () => Promise<void>;
}

/**
 * Finds out what of a job needs not run again, and in which order the rest runs best. Both only save time: what cannot be
 * done is left out, and the log says why.
 */
@Injectable()
export class JobPlans {
  readonly #work: WorkPlans;
  readonly #answers: EarlierAnswers;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(
    @Inject(WorkPlans) work: WorkPlans,
    @Inject(EarlierAnswers) answers: EarlierAnswers,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#work = work;
    this.#answers = answers;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** What it stores is kept or dropped by `record`. @throws PlanningEnded */
  async make(planning: Planning): Promise<JobPlan> {
    const startedMs = performance.now();
    const plan = await this.#make(planning);
    const { job, summary } = planning;
    const durationMs = Math.round(performance.now() - startedMs);
    this.#logger.info(
      { jobId: job.id, items: summary.items, reordered: plan.work !== null, reused: plan.reused, durationMs },
      'plan made',
    );
    return plan;
  }

  async #make(planning: Planning): Promise<JobPlan> {
    const { job, summary } = planning;
    const begunAtMs = this.#clock.nowMs();
    const found = await this.#find(planning);
    let work: WorkPlan | null = null;
    let reuse: PlannedReuse | null = found === null ? null : { keys: found.keys, segments: [] };
    try {
      // Of a job that has all its answers nothing is run, in whatever order.
      if (wantsPlan(summary, job.options) && (found?.count ?? 0) < summary.items)
        work = await this.#order(planning, found);
      const shards = work?.shards ?? shardsOf(summary, job.options);
      if (found === null || found.count === 0) return { shards, work, reuse, reused: 0, begunAtMs };
      const segments = await this.#attempt(job, 'answers of earlier jobs could not be taken over', () =>
        found.toSegments({ shards, work, onProgress: planning.onProgress }),
      );
      reuse = { keys: found.keys, segments: segments ?? [] };
      return { shards, work, reuse, reused: segments === null ? 0 : found.count, begunAtMs };
    } catch (error) {
      await dropObjects(this.#blobs, keysOf({ work, reuse }));
      throw error;
    } finally {
      await found?.dispose();
    }
  }

  /** `record` is the transaction in which the job gets this plan; false when it got none. */
  async record(plan: JobPlan, record: () => Promise<boolean>): Promise<boolean> {
    return await recordObjects({
      blobs: this.#blobs,
      clock: this.#clock,
      keys: keysOf(plan),
      storedAtMs: plan.begunAtMs,
      record,
      keeps: (recorded) => recorded,
    });
  }

  async #find(planning: Planning): Promise<FoundAnswers | null> {
    const { job } = planning;
    if (job.options.reuse !== 'project') return null;
    return await this.#attempt(job, 'answers of earlier jobs could not be looked for', () =>
      this.#answers.find(planning),
    );
  }

  async #order(planning: Planning, found: FoundAnswers | null): Promise<WorkPlan | null> {
    return await this.#attempt(planning.job, 'no plan could be made; the job runs in input order', () =>
      this.#work.make({ ...planning, decided: found?.decided ?? null }),
    );
  }

  async #attempt<T>(job: JobRecord, failure: string, work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof PlanningEnded) throw error;
      this.#logger.warn({ jobId: job.id, err: error }, failure);
      return null;
    }
  }
}

const keysOf = ({ work, reuse }: Pick<JobPlan, 'work' | 'reuse'>): string[] =>
  [work?.blobKey, reuse?.keys?.blobKey, ...(reuse?.segments ?? []).map(({ blobKey }) => blobKey)].filter(
    (key) => typeof key === 'string',
  );
