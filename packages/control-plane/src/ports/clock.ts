/** The ledger's clock (I13), injected so that tests own time. */
export interface Clock {
  /** Epoch milliseconds, whole. */
  nowMs(): number;
}

/** Corrections up to this are made without going back: time stands still until it is caught up with. */
const SLEW_MS = 1_000;

/**
 * The time by which leases, deadlines and everything else of a job's life are judged. One clock for all control planes of
 * a ledger: a process whose own clock is minutes off must not end leases that live. Between measurements it goes on by
 * the process's monotonic clock.
 *
 * Before the first measurement, and for a ledger without a clock of its own (embedded), it is the process's clock, which
 * never goes back: jumps ahead are followed, as after a suspend, jumps back are not.
 */
export class LedgerClock implements Clock {
  readonly #wallMs: () => number;
  readonly #monotonicMs: () => number;
  #offsetMs: number;
  #isMeasured = false;
  #lastMs = 0;

  constructor(sources: { wallMs?: () => number; monotonicMs?: () => number } = {}) {
    this.#wallMs = sources.wallMs ?? (() => Date.now());
    this.#monotonicMs = sources.monotonicMs ?? (() => performance.now());
    this.#offsetMs = this.#wallMs() - this.#monotonicMs();
  }

  nowMs(): number {
    const monotonicMs = this.#monotonicMs();
    if (!this.#isMeasured) this.#offsetMs = Math.max(this.#offsetMs, this.#wallMs() - monotonicMs);
    const nowMs = Math.floor(monotonicMs + this.#offsetMs);
    // A step back by more is one of the database's own clock: all processes follow it alike.
    this.#lastMs = nowMs < this.#lastMs - SLEW_MS ? nowMs : Math.max(nowMs, this.#lastMs);
    return this.#lastMs;
  }

  /**
   * Follows the clock of the ledger's server; the error is at most half the time of the fastest answer.
   * @param readMs the server's time now; `null` when it has no clock of its own
   * @throws what `readMs` throws; the clock then goes on as before
   */
  async measure(readMs: () => Promise<number | null>): Promise<void> {
    let best: { readonly offsetMs: number; readonly tookMs: number } | null = null;
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const beganMs = this.#monotonicMs();
      const serverMs = await readMs();
      if (serverMs === null) return;
      const tookMs = this.#monotonicMs() - beganMs;
      if (best === null || tookMs < best.tookMs) {
        best = { offsetMs: serverMs - (beganMs + tookMs / 2), tookMs };
      }
    }
    // An answer that took long says little: the offset known so far is closer.
    if (best === null || (this.#isMeasured && best.tookMs > MAX_ANSWER_MS)) return;
    this.#offsetMs = best.offsetMs;
    this.#isMeasured = true;
  }
}

const SAMPLES = 3;
const MAX_ANSWER_MS = 500;

/** A process's own clock: for what stands beside no ledger. */
export const systemClock: Clock = { nowMs: () => Date.now() };
