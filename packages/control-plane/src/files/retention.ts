import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { BLOBS, CLOCK, CONFIG, LEDGER } from '../tokens.js';
import { deleteBlobs } from './delete-blobs.js';

const FILES_PER_TICK = 100;
/** Each may have thousands of segments. */
const JOBS_PER_TICK = 10;

/**
 * Removes what has had its time: files and unfinished uploads after their own, ended jobs after the server's. Rows go
 * first: a blob without a row is swept up, a row without a blob would lie.
 */
@Injectable()
export class Retention {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#config = config;
  }

  /** Removes up to 100 files, the parts of up to 100 uploads and up to 10 jobs; how many files, parts and jobs that were. */
  async tick(): Promise<number> {
    const due = { nowMs: this.#clock.nowMs(), limit: FILES_PER_TICK };
    const files = await this.#ledger.expireFiles(due);
    const parts = await this.#ledger.expireUploads(due);
    await deleteBlobs(this.#blobs, [...files, ...parts]);
    const jobs = await this.#dropJobs();
    return files.length + parts.length + jobs;
  }

  /** How many it dropped. */
  async #dropJobs(): Promise<number> {
    const { retentionMs } = this.#config;
    if (retentionMs === null) return 0;
    const endedByMs = this.#clock.nowMs() - retentionMs;
    let dropped = 0;
    for (const job of await this.#ledger.listEnded({ endedByMs, limit: JOBS_PER_TICK })) {
      const deleted = await this.#ledger.deleteJob({ ...job, endedByMs });
      if (deleted.outcome !== 'deleted') continue;
      await deleteBlobs(this.#blobs, deleted.blobKeys);
      dropped += 1;
    }
    return dropped;
  }
}
