import { Inject, Injectable } from '@nestjs/common';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { BLOBS, CLOCK, LEDGER } from '../tokens.js';

const FILES_PER_TICK = 100;

/** Removes files and unfinished uploads whose time is over. Rows go first: a blob without a row is swept up, a row without a blob would lie. */
@Injectable()
export class Retention {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;

  constructor(@Inject(LEDGER) ledger: Ledger, @Inject(BLOBS) blobs: Blobs, @Inject(CLOCK) clock: Clock) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
  }

  /** Removes up to 100 files, and the parts of up to 100 uploads; how many objects it removed. */
  async tick(): Promise<number> {
    const due = { nowMs: this.#clock.nowMs(), limit: FILES_PER_TICK };
    const files = await this.#ledger.expireFiles(due);
    const parts = await this.#ledger.expireUploads(due);
    for (const key of [...files, ...parts]) await this.#blobs.delete({ key });
    return files.length + parts.length;
  }
}
