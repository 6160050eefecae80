const CAPACITY = 40;

/**
 * Keeps a client from multiplying the load on a server in trouble: every retry takes a token, every success gives one
 * back, and with none left the first failure is final.
 */
export class RetryBudget {
  #tokens = CAPACITY;

  /** Takes a token; false when there is none. */
  take(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  giveBack(): void {
    this.#tokens = Math.min(CAPACITY, this.#tokens + 1);
  }
}
