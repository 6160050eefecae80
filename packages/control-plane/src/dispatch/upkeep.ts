import { LIMITS } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { CLOCK, LEDGER } from '../tokens.js';

/** How long a runner that is gone stays in the registry. */
const FORGET_RUNNER_AFTER_MS = 3_600_000;

/** Drops rows whose time is over and that nobody asks for any more. */
@Injectable()
export class Upkeep {
  readonly #ledger: Ledger;
  readonly #clock: Clock;

  constructor(@Inject(LEDGER) ledger: Ledger, @Inject(CLOCK) clock: Clock) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  async tick(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    await this.#ledger.forgetIdempotency({
      explicitBeforeMs: nowMs - LIMITS.idempotencyTtlMs,
      implicitBeforeMs: nowMs - LIMITS.implicitRetryWindowMs,
    });
    await this.#ledger.forgetTemporary({ nowMs });
    for (const { report, lastSeenAtMs } of await this.#ledger.listRunners({ seenAfterMs: 0 })) {
      if (lastSeenAtMs < nowMs - FORGET_RUNNER_AFTER_MS) {
        await this.#ledger.removeRunner({ runnerId: report.runner_id });
      }
    }
  }
}
