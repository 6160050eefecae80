import { Inject, Injectable } from '@nestjs/common';
import { ORPHAN_AGE_MS } from '../files/record-objects.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { BLOBS, CLOCK, LEDGER } from '../tokens.js';

const PAGE = 200;

/** Deletes objects that no row names, a page at each tick, walking over all keys again and again. */
@Injectable()
export class OrphanSweep {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  #after: string | null = null;

  constructor(@Inject(LEDGER) ledger: Ledger, @Inject(BLOBS) blobs: Blobs, @Inject(CLOCK) clock: Clock) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
  }

  /** How many it deleted. */
  async tick(): Promise<number> {
    const page = await this.#blobs.list({
      prefix: '',
      limit: PAGE,
      ...(this.#after === null ? {} : { after: this.#after }),
    });
    this.#after = page.length < PAGE ? null : (page.at(-1)?.key ?? null);
    const bornBeforeMs = this.#clock.nowMs() - ORPHAN_AGE_MS;
    let deleted = 0;
    for (const { key, modifiedAtMs } of page) {
      if (modifiedAtMs >= bornBeforeMs || (await this.#ledger.isBlobReferenced({ key }))) continue;
      await this.#blobs.delete({ key });
      deleted += 1;
    }
    return deleted;
  }
}
