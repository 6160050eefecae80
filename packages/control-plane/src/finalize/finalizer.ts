import { type JobState, newId, terminalState } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { JobSlots } from '../jobs/job-slots.js';
import { JobTries } from '../jobs/job-tries.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { isSmallJob, type JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, LEDGER, SIGNALS } from '../tokens.js';
import { OutputFiles } from './output-files.js';

/** How long a claim holds; it is renewed every third of it. */
const CLAIM_MS = 15_000;
const LISTED_JOBS = 16;

/** The job is not ours to end any more. */
class ClaimLost extends Error {
  override readonly name = 'ClaimLost';
}

/**
 * Brings `finalizing` jobs to their end: writes their files, and then lets one transaction make the files and the terminal
 * state visible. Every attempt has its own object keys. A job that cannot be finalized has tries and a backoff of its own
 * (`JobTries`), and stops no other.
 */
@Injectable()
export class Finalizer {
  readonly #ledger: Ledger;
  readonly #files: OutputFiles;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #tries: JobTries;
  readonly #owner = newId('run');
  readonly #slots = new JobSlots();

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(OutputFiles) files: OutputFiles,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(JobTries) tries: JobTries,
  ) {
    this.#ledger = ledger;
    this.#files = files;
    this.#clock = clock;
    this.#signals = signals;
    this.#tries = tries;
  }

  /**
   * Ends the job that a signal named, or every job that is due and that nobody works on. Safe to call at any time, also
   * while an earlier call still runs.
   * @returns how many jobs it ended
   * @throws the ledger's error; what it claimed is taken up again when the claim has run out
   */
  async tick(jobId?: string): Promise<number> {
    let ended = 0;
    for (;;) {
      const begun = jobId === undefined ? await this.begin() : await this.#beginOne(jobId);
      if (begun.length === 0) return ended;
      ended += (await Promise.all(begun)).filter(Boolean).length;
      if (jobId !== undefined) return ended;
    }
  }

  /** Takes up jobs that are due, as many as there is room for, small ones first; each tells whether it ended. */
  async begin(): Promise<Promise<boolean>[]> {
    const begun: Promise<boolean>[] = [];
    for (const small of [true, false]) {
      if (!this.#slots.hasRoom(small)) continue;
      const due = { small, limit: LISTED_JOBS, nowMs: this.#clock.nowMs() };
      for (const id of await this.#ledger.listFinalizing(due)) begun.push(...(await this.#beginOne(id)));
    }
    return begun;
  }

  async #beginOne(jobId: string): Promise<Promise<boolean>[]> {
    // A signal about a job that is being ended already says nothing new.
    if (this.#slots.has(jobId) || !(this.#slots.hasRoom(true) || this.#slots.hasRoom(false))) return [];
    const nowMs = this.#clock.nowMs();
    const job = await this.#ledger.claimFinalization({
      jobId,
      owner: this.#owner,
      claimMs: CLAIM_MS,
      nowMs,
    });
    if (job === null || this.#slots.has(job.id)) return [];
    if (!this.#slots.hasRoom(isSmallJob(job))) {
      await this.#ledger.abandonFinalization({ jobId, owner: this.#owner });
      return [];
    }
    this.#slots.take(job);
    return [this.#end(job).finally(() => this.#slots.free(job.id))];
  }

  async #end(job: JobRecord): Promise<boolean> {
    try {
      return await this.#finalize(job);
    } catch (error) {
      if (error instanceof ClaimLost) return false;
      return await this.#tries.failed({ job, owner: this.#owner, code: 'finalize_failed', error });
    }
  }

  async #finalize(job: JobRecord): Promise<boolean> {
    const output = await this.#files.write({ job, onProgress: this.#renewal(job) });
    const { idsBlobKey, ...counted } = output;
    const state = endState(job);
    const finished = await this.#files.record(output, () =>
      this.#ledger.finishJob({
        ...counted,
        ...(idsBlobKey === null ? {} : { idsBlobKey }),
        jobId: job.id,
        owner: this.#owner,
        state,
        nowMs: this.#clock.nowMs(),
      }),
    );
    if (finished) {
      this.#signals.emit('job-changed', job.id);
      this.#signals.emit('job-ended', state);
    }
    return finished;
  }

  /** Extends the claim when it is time to. */
  #renewal(job: JobRecord): () => Promise<void> {
    let renewAtMs = this.#clock.nowMs() + CLAIM_MS / 3;
    return async () => {
      const nowMs = this.#clock.nowMs();
      if (nowMs < renewAtMs) return;
      const claim = { jobId: job.id, owner: this.#owner, claimMs: CLAIM_MS, nowMs };
      // The owner's own claim is extended.
      if ((await this.#ledger.claimFinalization(claim)) === null) throw new ClaimLost();
      renewAtMs = nowMs + CLAIM_MS / 3;
    };
  }
}

const endState = (job: JobRecord): JobState =>
  terminalState({ reason: job.endReason ?? 'completed', succeeded: job.succeeded, total: job.total });
