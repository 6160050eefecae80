/** Aborts when nothing has happened for a while. Every sign of life starts the time anew. */
export class Watchdog {
  readonly #controller = new AbortController();
  /** How long nothing may happen. */
  readonly limitMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(limitMs: number) {
    this.limitMs = limitMs;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts the time, or starts it anew. */
  start(): void {
    this.stop();
    if (Number.isFinite(this.limitMs)) {
      this.#timer = setTimeout(() => this.#controller.abort(), Math.min(this.limitMs, 2 ** 31 - 1));
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
