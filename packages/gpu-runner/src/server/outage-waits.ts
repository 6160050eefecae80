import type { Clock } from '../clock.js';

/**
 * Waits before calls of the control plane are made again. They end together when it is back: left to its own back-off,
 * the last of them would be made seconds later.
 */
export class OutageWaits {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves after `delayMs`, when the control plane is back, or when the signal aborts. */
  wait(delayMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        this.#waiting.delete(end);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const cancel = this.#clock.after(delayMs, end);
      this.#waiting.add(end);
      signal.addEventListener('abort', end);
    });
  }

  /** The control plane is back. */
  end(): void {
    for (const end of [...this.#waiting]) end();
  }
}
