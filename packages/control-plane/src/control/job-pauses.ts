import { toJobId, toJobStatus } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import { shownId } from '../files/files.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, LEDGER, SIGNALS } from '../tokens.js';

/**
 * Pause and resume. A paused job keeps its place, its results and its time: only nothing of it starts, and what runs is
 * given back. What was settled stays; requests that were cut off run again, and are not charged for it.
 */
@Injectable()
export class JobPauses {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #signals: Signals;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#signals = signals;
  }

  /** Idempotent. A job that is about to end is left as it is. @throws DomainError `not_found`, `job_already_ended` */
  async pause(projectId: string, id: string): Promise<JobRecord> {
    const { job, changed } = await this.#set(projectId, id, true);
    if (changed) this.#signals.emit('job-paused', job.id);
    return job;
  }

  /** Idempotent. @throws DomainError `not_found`, `job_already_ended` */
  async resume(projectId: string, id: string): Promise<JobRecord> {
    const { job, changed } = await this.#set(projectId, id, false);
    if (changed) this.#signals.emit('work-ready');
    return job;
  }

  async #set(projectId: string, id: string, paused: boolean): Promise<{ job: JobRecord; changed: boolean }> {
    const nowMs = this.#clock.nowMs();
    const set = await this.#ledger.setPaused({ projectId, id: toJobId(id), paused, nowMs });
    if (set === null) throw new DomainError('not_found', `No job has the id ${shownId(id)}.`);
    if (set.outcome === 'ended') {
      throw new DomainError(
        'job_already_ended',
        `Job ${id} has already ended: it is ${toJobStatus(set.job.state)}.`,
      );
    }
    const changed = set.outcome === 'changed';
    if (changed) this.#signals.emit('job-changed', set.job.id);
    return { job: set.job, changed };
  }
}
