/** Attempts over which the share is taken. */
const MEMORY_ATTEMPTS = 500;

/**
 * The share of attempts that fail for no fault of their item: failures of items that succeeded later. An item that
 * fails every time adds nothing, so that a poison item is not taken for a bad engine.
 */
export class NoiseMeter {
  #attempts = 0;
  #recovered = 0;

  /** An item has ended after so many charged failures. */
  record(ended: { succeeded: boolean; failures: number }): void {
    this.#attempts += ended.failures + (ended.succeeded ? 1 : 0);
    if (ended.succeeded) this.#recovered += ended.failures;
    if (this.#attempts > MEMORY_ATTEMPTS) {
      this.#attempts /= 2;
      this.#recovered /= 2;
    }
  }

  get share(): number {
    return this.#attempts === 0 ? 0 : this.#recovered / this.#attempts;
  }
}
