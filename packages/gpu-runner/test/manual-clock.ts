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

  /** Moves time on, and lets what it wakes run to its next wait. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      await settled();
      const due = [...this.#timers].filter(([, timer]) => timer.atMs <= untilMs);
      const [next] = due.sort(([, left], [, right]) => left.atMs - right.atMs);
      if (next === undefined) break;
      const [id, timer] = next;
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
