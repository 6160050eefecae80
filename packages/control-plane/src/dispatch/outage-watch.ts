/** When some process last found the ledger well: outlives processes, so that an outage in which all of them restarted is seen. */
export interface LastAlive {
  /** `null`: never. */
  read(): Promise<number | null>;
  write(nowMs: number): Promise<void>;
}

/**
 * Measures how long the ledger was away (I13): the time since some process last found it well, when that is longer than
 * its absence is worth forgiving. It is told again until `alive` says that it was forgiven.
 */
export class OutageWatch {
  readonly #lastAlive: LastAlive;
  readonly #thresholdMs: number;
  readonly #silenceMs: number;
  #ownAliveMs: number | null = null;
  #failed = false;

  /**
   * @param params.thresholdMs shorter outages are not forgiven
   * @param params.silenceMs the same where no look at the ledger failed here: nobody may have looked, or this process was
   *   down, frozen or slow
   */
  constructor(params: { lastAlive: LastAlive; thresholdMs: number; silenceMs: number }) {
    this.#lastAlive = params.lastAlive;
    this.#thresholdMs = params.thresholdMs;
    this.#silenceMs = params.silenceMs;
  }

  /** The ledger did not answer. */
  failed(): void {
    this.#failed = true;
  }

  /** The ledger answers: the time that was lost before, 0 when none worth forgiving was. Remembered until `alive`. */
  async lostMs(nowMs: number): Promise<number> {
    const lastMs = Math.max((await this.#lastAlive.read()) ?? nowMs, this.#ownAliveMs ?? 0);
    const gapMs = nowMs - lastMs;
    return gapMs > (this.#failed ? this.#thresholdMs : this.#silenceMs) ? gapMs : 0;
  }

  /** The ledger is well, and what was lost before is forgiven. */
  async alive(nowMs: number): Promise<void> {
    await this.#lastAlive.write(nowMs);
    this.#ownAliveMs = nowMs;
    this.#failed = false;
  }
}
