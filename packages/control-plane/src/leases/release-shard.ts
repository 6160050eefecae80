import type { ReleaseRequest } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, LEDGER, SIGNALS } from '../tokens.js';

/** Gives a shard back before its lease is over; that is no lost lease. */
@Injectable()
export class ReleaseShard {
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

  /** False when the lease was over already, or another key holds it. One whose outcomes were refused is lost: the sweeper counts it. */
  async run(
    params: { shardId: string; keyId?: string | null } & Pick<ReleaseRequest, 'epoch' | 'reason'>,
  ): Promise<boolean> {
    const { shardId, epoch, keyId = null, reason } = params;
    const released = await this.#ledger.releaseShard({
      shardId,
      epoch,
      keyId,
      isLost: reason === 'refused',
      nowMs: this.#clock.nowMs(),
    });
    if (!released) return false;
    if (reason !== 'refused') this.#signals.emit(reason === 'stopped' ? 'stopped-released' : 'work-ready');
    return true;
  }
}
