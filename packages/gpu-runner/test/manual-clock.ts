import type { Clock } from '../src/clock.js';

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Map<number, { readonly atMs: number; readonly callback: () => void }>();
  #nextId = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#timers.set(id, { atMs: this.#nowMs + delayMs, callback });
    return () => void this.#timers.delete(id);
  }

  /** The earliest timer; of several the first that was set. */
  #next(): { id: number; atMs: number; callback: () => void } | null {
    let next: { id: number; atMs: number; callback: () => void } | null = null;
    for (const [id, { atMs, callback }] of this.#timers)
      if (next === null || atMs < next.atMs) next = { id, atMs, callback };
    return next;
  }

  /** Moves time on, and lets what it wakes run to its next wait. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      await settled();
      const next = this.#next();
      if (next === null || next.atMs > untilMs) break;
      const { id, ...timer } = next;
      this.#timers.delete(id);
      this.#nowMs = timer.atMs;
      timer.callback();
    }
    this.#nowMs = untilMs;
    await settled();
  }
}

/** Lets promises that are ready run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
