import { type JobState, newId, terminalState } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { EVERYTHING, ItemReader, neverRunStatusOf } from '../jobs/item-reader.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { FileRecord, JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, LEDGER, SIGNALS } from '../tokens.js';
import { toBatchLine } from './batch-lines.js';
import type { BlobWriter } from './blob-writer.js';
import { OutputFiles, type WrittenFile } from './output-files.js';

/**
 * How long a claim holds. It is renewed every third of it; an attempt that failed is made again when it has run out.
 */
const CLAIM_MS = 15_000;
/** Jobs that one process brings to their end at once: a small job does not wait for a huge one. */
const PARALLEL_JOBS = 4;

/**
 * Brings `finalizing` jobs to their end: merges their segments into an output file (items that succeeded) and an error
 * file (all others), both in input order, and then lets one transaction make the files and the terminal state visible.
 * Whoever loses the claim midway deletes what it wrote: every attempt has its own object keys.
 */
@Injectable()
export class Finalizer {
  readonly #ledger: Ledger;
  readonly #files: OutputFiles;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #reader: ItemReader;
  readonly #owner = newId('run');
  readonly #active = new Set<string>();

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(OutputFiles) files: OutputFiles,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(ItemReader) reader: ItemReader,
  ) {
    this.#ledger = ledger;
    this.#files = files;
    this.#clock = clock;
    this.#signals = signals;
    this.#reader = reader;
  }

  /**
   * Ends the job that a signal named, or every job that waits and that nobody works on. Safe to call at any time, also
   * while an earlier call still runs.
   * @returns how many jobs it ended
   * @throws the store's or the ledger's error; the job is taken up again when the claim has run out
   */
  async tick(jobId?: string): Promise<number> {
    let ended = 0;
    // A signal about a job that is being ended already says nothing new.
    while (this.#active.size < PARALLEL_JOBS && !(jobId !== undefined && this.#active.has(jobId))) {
      const claim = { owner: this.#owner, claimMs: CLAIM_MS, nowMs: this.#clock.nowMs() };
      const job = await this.#ledger.claimFinalization(jobId === undefined ? claim : { ...claim, jobId });
      if (job === null || this.#active.has(job.id)) return ended;
      this.#active.add(job.id);
      try {
        if (await this.#finalize(job)) ended += 1;
      } finally {
        this.#active.delete(job.id);
      }
      if (jobId !== undefined) return ended;
    }
    return ended;
  }

  async #finalize(job: JobRecord): Promise<boolean> {
    const output = this.#files.begin(job);
    const errors = this.#files.begin(job);
    let finished = false;
    try {
      const written = await this.#write(job, output.writer, errors.writer);
      if (written === null) return false;
      const nowMs = this.#clock.nowMs();
      const record = (
        file: WrittenFile,
        kind: 'output' | 'error',
        bytes: number | null,
      ): FileRecord | null =>
        bytes === null ? null : this.#files.recordOf({ job, file, kind, bytes, nowMs });
      finished = await this.#ledger.finishJob({
        jobId: job.id,
        owner: this.#owner,
        state: endState(job),
        cancelled: written.cancelled,
        expired: written.expired,
        outputFile: record(output, 'output', written.outputBytes),
        errorFile: record(errors, 'error', written.errorBytes),
        nowMs,
      });
      if (finished) {
        this.#signals.emit('job-changed', job.id);
        this.#signals.emit('job-ended', endState(job));
      }
      return finished;
    } finally {
      if (!finished) await Promise.all([output.writer.abort(), errors.writer.abort()]);
    }
  }

  /** Writes both files; `null` when the claim was lost on the way. */
  async #write(
    job: JobRecord,
    output: BlobWriter,
    errors: BlobWriter,
  ): Promise<{
    cancelled: number;
    expired: number;
    outputBytes: number | null;
    errorBytes: number | null;
  } | null> {
    let neverRun = 0;
    let renewAtMs = this.#clock.nowMs() + CLAIM_MS / 3;
    for await (const items of this.#reader.inInputOrder({ job, fromIndex: 0, wanted: EVERYTHING })) {
      for (const item of items) {
        if (item.ended === 'never_run') neverRun += 1;
        const line = toBatchLine(job.id, item);
        await (line.file === 'output' ? output : errors).write(line.pieces);
      }
      const nowMs = this.#clock.nowMs();
      if (nowMs < renewAtMs) continue;
      // The owner's own claim is extended.
      const held = await this.#ledger.claimFinalization({
        jobId: job.id,
        owner: this.#owner,
        claimMs: CLAIM_MS,
        nowMs,
      });
      if (held === null) return null;
      renewAtMs = nowMs + CLAIM_MS / 3;
    }
    const [outputEnd, errorEnd] = [await output.finish(), await errors.finish()];
    const expired = neverRunStatusOf(job) === 'expired' ? neverRun : 0;
    return {
      cancelled: neverRun - expired,
      expired,
      outputBytes: outputEnd?.bytes ?? null,
      errorBytes: errorEnd?.bytes ?? null,
    };
  }
}

const endState = (job: JobRecord): JobState =>
  terminalState({ reason: job.endReason ?? 'completed', succeeded: job.succeeded, total: job.total });
