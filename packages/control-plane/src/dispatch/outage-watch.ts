/**
 * Measures how long the ledger was away (I13). Time counts as lost when a look at the ledger failed, and, where nobody
 * else can have kept it alive (embedded), also when nobody looked at all: the process was down, frozen or asleep.
 */
export class OutageWatch {
  readonly #thresholdMs: number;
  readonly #alone: boolean;
  #lastAliveMs: number;
  #failed = false;

  constructor(params: { thresholdMs: number; alone: boolean; lastAliveMs: number }) {
    this.#thresholdMs = params.thresholdMs;
    this.#alone = params.alone;
    this.#lastAliveMs = params.lastAliveMs;
  }

  /** The ledger did not answer. */
  failed(): void {
    this.#failed = true;
  }

  /** The ledger answered: the time that was lost before, 0 when none worth forgiving was. */
  alive(nowMs: number): number {
    const gapMs = nowMs - this.#lastAliveMs;
    const lost = (this.#failed || this.#alone) && gapMs > this.#thresholdMs;
    this.#failed = false;
    this.#lastAliveMs = nowMs;
    return lost ? gapMs : 0;
  }
}
