import { Inject, Injectable } from '@nestjs/common';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { BLOBS, CLOCK, LEDGER } from '../tokens.js';

const FILES_PER_TICK = 100;

/** Removes files whose time is over. Rows go first: a blob without a row is swept up, a row without a blob would lie. */
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

  /** Removes up to 100 files; how many it removed. */
  async tick(): Promise<number> {
    const keys = await this.#ledger.expireFiles({ nowMs: this.#clock.nowMs(), limit: FILES_PER_TICK });
    for (const key of keys) await this.#blobs.delete({ key });
    return keys.length;
  }
}
