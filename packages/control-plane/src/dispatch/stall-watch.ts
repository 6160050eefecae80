import { Inject, Injectable } from '@nestjs/common';
import { STALLED_AFTER_MS } from '../jobs/job-queue.js';
import { JobViews } from '../jobs/job-views.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { Logger } from '../telemetry/logger.js';
import { Metrics } from '../telemetry/metrics.js';
import { CLOCK, LEDGER, LOGGER } from '../tokens.js';

/** Jobs looked at in one tick. */
const BATCH = 100;

/** Says when running jobs stop moving: a metric for alerts, one log line a stall, and one when it is over. */
@Injectable()
export class StallWatch {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #views: JobViews;
  readonly #metrics: Metrics;
  readonly #logger: Logger;
  #stalled: ReadonlySet<string> = new Set();

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
    const sinceMs = this.#clock.nowMs() - STALLED_AFTER_MS;
    const stalled = new Set<string>();
    for (const job of await this.#views.page(await this.#ledger.listSilent({ sinceMs, limit: BATCH }))) {
      const reason = job.queue.waiting_for.find(({ code }) => code === 'stalled');
      if (reason === undefined) continue;
      stalled.add(job.id);
      if (!this.#stalled.has(job.id))
        this.#logger.warn({ jobId: job.id, models: job.models, reason: reason.message }, 'job stalled');
    }
    for (const jobId of this.#stalled) {
      if (!stalled.has(jobId)) this.#logger.info({ jobId }, 'job no longer stalled');
    }
    this.#stalled = stalled;
    this.#metrics.jobsStalled.set(stalled.size);
  }
}
