import { type InputError, isTerminal } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { BlobDamagedError, BlobMissingError, type Blobs, StorageFullError } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { isOutage } from '../ports/outage.js';
import type { JobProblem, JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { BLOBS, CLOCK, LEDGER, LOGGER, SIGNALS } from '../tokens.js';
import { type AfterFailedTry, afterFailedTry } from './try-rules.js';

/** Objects of others that are looked for when one is missing. */
const LOOKED_FOR = 8;

const WORK = { plan_failed: 'planned', finalize_failed: 'finalized' } as const;

/** What becomes of jobs that could not be planned or finalized: each has its own tries, and none stops another. */
@Injectable()
export class JobTries {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #logger: Logger;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#signals = signals;
    this.#logger = logger;
  }

  /**
   * Writes down a failed try, or gives the job up.
   * @param params.owner who holds the claim on the job
   * @returns whether the job has ended by it
   * @throws the ledger's error
   */
  async failed(params: {
    job: JobRecord;
    owner: string;
    code: JobProblem['code'];
    error: unknown;
  }): Promise<boolean> {
    const { owner, code, error } = params;
    // It may have been cancelled while it was tried.
    const job = await this.#ledger.getJob(params.job);
    if (job === null) return false;
    if (!isDue(job, code)) {
      // The answer was lost, but what was asked for had been done; or somebody else did it.
      this.#signals.emit('job-changed', job.id);
      return isTerminal(job.state);
    }
    const { message, isOwn } = reasonOf(error);
    const storeIsWell = await this.#isStoreWell(job.id);
    const own = isOwn && storeIsWell;
    const nowMs = this.#clock.nowMs();
    const earlier = job.problem?.code === code ? job.problem : null;
    const tries = (earlier?.tries ?? 0) + 1;
    const next = afterFailedTry({
      tries,
      ownTries: (earlier?.ownTries ?? 0) + (own ? 1 : 0),
      sinceMs: earlier?.sinceMs ?? nowMs,
      storeIsWell,
      isCancelled: job.giveUpAtMs !== null,
      expiresAtMs: job.expiresAtMs,
      nowMs,
    });
    const said = { jobId: job.id, try: tries, reason: message, err: error };
    if (next.outcome === 'retry') {
      const retryAtMs = nowMs + next.delayMs;
      const problem = { jobId: job.id, owner, code, message, own, retryAtMs, nowMs };
      if ((await this.#ledger.recordProblem(problem)) === null) return false;
      this.#signals.emit('job-changed', job.id);
      this.#logger.warn({ ...said, retryInMs: next.delayMs }, `the job could not be ${WORK[code]}`);
      return false;
    }
    const state = next.reason === 'cancelled' ? 'cancelled' : 'failed';
    const entry = errorOf({ code, message, tries, reason: next.reason });
    const ended =
      code === 'plan_failed'
        ? await this.#ledger.refuseJob({ jobId: job.id, errors: [entry], nowMs })
        : await this.#ledger.giveUpJob({ jobId: job.id, owner, state, error: entry, nowMs });
    if (!ended) return false;
    this.#logger.error(said, `the job could not be ${WORK[code]} and was given up`);
    this.#signals.emit('job-changed', job.id);
    this.#signals.emit('job-ended', code === 'plan_failed' ? 'failed' : state);
    return true;
  }

  /** Whether the store can be used, and has what other jobs put there: it may be another bucket than yesterday's. */
  async #isStoreWell(jobId: string): Promise<boolean> {
    try {
      await this.#blobs.check();
      const others = await this.#ledger.listOtherBlobs({ jobId, limit: LOOKED_FOR });
      for (const key of others) if ((await this.#blobs.head({ key })) !== null) return true;
      return others.length === 0;
    } catch {
      return false;
    }
  }
}

const isDue = ({ state }: JobRecord, code: JobProblem['code']): boolean =>
  code === 'plan_failed' ? state === 'validating' || state === 'cancelling' : state === 'finalizing';

/** Words for people, and whether only this job can be to blame. No text of the error's own: it may quote an answer. */
function reasonOf(error: unknown): { message: string; isOwn: boolean } {
  if (error instanceof BlobMissingError || error instanceof BlobDamagedError)
    return { message: error.message.replace(/\.$/, ''), isOwn: true };
  if (error instanceof StorageFullError) return { message: 'The storage is full', isOwn: false };
  if (isOutage(error)) return { message: 'The ledger or the blob store does not answer', isOwn: false };
  return { message: 'Something unexpected went wrong; the log of the control plane says what', isOwn: true };
}

function errorOf(failed: {
  code: JobProblem['code'];
  message: string;
  tries: number;
  reason: (AfterFailedTry & { outcome: 'give_up' })['reason'];
}): InputError {
  const { code, message, tries, reason } = failed;
  const why = {
    tries: `It was tried ${tries} times.`,
    cancelled: 'It was cancelled meanwhile.',
    expired: `It was tried ${tries} times until its completion window had ended.`,
  }[reason];
  const next =
    code === 'plan_failed'
      ? 'Nothing of it was run. Submit it again.'
      : 'It has no output file; results that can still be read are at its results. Submit what is missing again.';
  return {
    line: null,
    param: null,
    code,
    message: `The job could not be ${WORK[code]}. ${message}. ${why} ${next}`,
  };
}
