import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, LEDGER, LOGGER, SIGNALS } from '../tokens.js';
import { judge, modelsOf, shardsOf } from './judge.js';

/** A creator hands its job over by signal; only jobs older than this are looked for. */
const ORPHAN_AGE_MS = 2_000;
const JOBS_PER_TICK = 16;

/**
 * Plans `validating` jobs: judges their file by their options and inserts their shards in plan order. Plan order is
 * input order for now; grouping by prefix would put its work file here.
 *
 * Every step is a compare-and-set on the job, so that two planners (or one that died midway) do no harm.
 */
@Injectable()
export class Planner {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #logger: Logger;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#signals = signals;
    this.#logger = logger;
  }

  /** Plans the job that a signal named, and the jobs that a dead process left behind. How many it planned or refused. */
  async tick(jobId?: string): Promise<number> {
    const createdBeforeMs = this.#clock.nowMs() - (jobId === undefined ? ORPHAN_AGE_MS : 0);
    const waiting = await this.#ledger.listUnplanned({ createdBeforeMs, limit: JOBS_PER_TICK });
    let planned = 0;
    for (const job of waiting) {
      try {
        if (await this.#plan(job)) planned += 1;
      } catch (error) {
        this.#logger.error({ jobId: job.id, err: error }, 'planning failed; it is tried again');
      }
    }
    return planned;
  }

  async #plan(job: JobRecord): Promise<boolean> {
    const { options } = job;
    const nowMs = this.#clock.nowMs();
    const file = await this.#ledger.getFile({ projectId: job.projectId, id: job.inputFileId });
    const summary = file?.summary ?? null;
    if (summary === null) {
      const message = 'The input file was deleted before the job was planned';
      return await this.#refuse(job, [{ line: null, param: 'input_file_id', code: 'invalid_file', message }]);
    }
    const { errors } = judge({ summary, options, openai: job.dialect === 'openai' });
    if (errors.length > 0) return await this.#refuse(job, errors);
    const planned = await this.#ledger.planJob({
      jobId: job.id,
      shards: shardsOf(summary, options),
      models: modelsOf(summary, options),
      nowMs,
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
