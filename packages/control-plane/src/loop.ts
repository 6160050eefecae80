import type { Logger } from './telemetry/logger.js';

export interface LoopOptions {
  readonly name: string;
  /** Time between the end of one tick and the start of the next, when nobody wakes it. */
  readonly intervalMs: number;
  /** One step; `true` when there is more to do right now. */
  readonly tick: (signal: AbortSignal) => Promise<unknown>;
  readonly logger: Logger;
  /** Longest time between failing ticks. Default 5 s. */
  readonly maxBackoffMs?: number;
  readonly random?: () => number;
}

/**
 * Runs a step again and again. A step that fails is logged once, repeated with growing distance and jitter until it
 * works again, and never ends the process.
 */
export class Loop {
  readonly #options: LoopOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;
  #failures = 0;
  #woken = false;
  #endSleep: () => void = () => {};

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Look now: cuts the pause short, or adds one more tick right after the one that runs. */
  wake(): void {
    this.#woken = true;
    // A loop that backs off is not hurried: what failed would fail again.
    if (this.#failures === 0) this.#endSleep();
  }

  /** Resolves when the tick that runs has ended; no other begins. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#endSleep();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#woken = false;
      const again = await this.#tick(signal);
      if (signal.aborted) return;
      const delayMs =
        this.#failures > 0 ? this.#backoffMs() : again || this.#woken ? 0 : this.#options.intervalMs;
      if (delayMs > 0) await this.#sleep(delayMs);
      // Others get their turn even when there is always more to do.
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #tick(signal: AbortSignal): Promise<boolean> {
    const { name, logger } = this.#options;
    try {
      const again = await this.#options.tick(signal);
      if (this.#failures > 0) logger.info({ loop: name, failures: this.#failures }, 'works again');
      this.#failures = 0;
      return again === true;
    } catch (error) {
      if (signal.aborted) return false;
      if (this.#failures === 0)
        logger.error({ loop: name, error }, 'failed; it is tried again until it works');
      this.#failures += 1;
      return false;
    }
  }

  #backoffMs(): number {
    const { intervalMs, maxBackoffMs = 5_000, random = Math.random } = this.#options;
    const capMs = Math.min(maxBackoffMs, Math.max(50, intervalMs) * 2 ** Math.min(this.#failures, 10));
    return capMs / 2 + (random() * capMs) / 2;
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs);
      this.#endSleep = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
