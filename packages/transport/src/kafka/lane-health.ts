import type { LaneProblem } from '../port.js';

/** Pauses before a lane that failed is tried again: the first one, and the longest. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** A problem is told of for this long after its last failure, unless an offer arrives. */
const TOLD_MS = 60_000;

interface Trouble {
  readonly lane: string;
  readonly model: string;
  readonly reason: string;
  readonly sinceMs: number;
  readonly lastMs: number;
  readonly retryAtMs: number;
  readonly pauseMs: number;
}

/** Which lanes did not take their last offers, and when each is worth another try. */
export class LaneHealth {
  readonly #now: () => number;
  readonly #troubles = new Map<string, Trouble>();

  /** @param params.now epoch milliseconds */
  constructor(params: { now?: () => number } = {}) {
    this.#now = params.now ?? Date.now;
  }

  failed(params: { lane: string; model: string; reason: string }): void {
    const nowMs = this.#now();
    const before = this.#troubles.get(params.lane);
    const pauseMs = before === undefined ? FIRST_PAUSE_MS : Math.min(2 * before.pauseMs, LONGEST_PAUSE_MS);
    this.#troubles.set(params.lane, {
      ...params,
      sinceMs: before?.sinceMs ?? nowMs,
      lastMs: nowMs,
      retryAtMs: nowMs + pauseMs,
      pauseMs,
    });
  }

  arrived(lane: string): void {
    this.#troubles.delete(lane);
  }

  forgetModel(model: string): void {
    for (const trouble of this.#troubles.values())
      if (trouble.model === model) this.#troubles.delete(trouble.lane);
  }

  /** The broker is back: every lane is worth a try now. */
  retryAll(): void {
    for (const [lane, trouble] of this.#troubles)
      this.#troubles.set(lane, { ...trouble, retryAtMs: 0, pauseMs: FIRST_PAUSE_MS });
  }

  problems(): LaneProblem[] {
    const nowMs = this.#now();
    for (const { lane, lastMs } of this.#troubles.values())
      if (nowMs - lastMs > TOLD_MS) this.#troubles.delete(lane);
    return [...this.#troubles.values()].map(({ lane, model, reason, sinceMs, retryAtMs }) => ({
      lane,
      model,
      reason,
      sinceMs,
      waits: retryAtMs > nowMs,
    }));
  }
}
