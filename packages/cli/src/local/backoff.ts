const FIRST_MS = 500;
const LONGEST_MS = 8_000;
/** A child that ran this long was healthy: its next crash counts as the first. */
const HEALTHY_MS = 30_000;

/** How long to wait before a crashed child is started again: 0.5, 1, 2, 4, 8 seconds. */
export class Backoff {
  #crashes = 0;

  nextDelayMs(ranMs: number): number {
    this.#crashes = ranMs >= HEALTHY_MS ? 1 : this.#crashes + 1;
    return Math.min(LONGEST_MS, FIRST_MS * 2 ** (this.#crashes - 1));
  }
}
