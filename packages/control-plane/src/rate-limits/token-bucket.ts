/** Where a bucket stands after a request. */
export interface BucketState {
  readonly limit: number;
  /** Whole requests that could be made now. */
  readonly remaining: number;
  /** Until the bucket is full again. */
  readonly resetMs: number;
  /** Until this request is within the limit; 0 when it is. */
  readonly waitMs: number;
}

/** Requests of one project. */
export interface RequestBucket {
  readonly perMinute: number;
  /** Takes a request where there is one; with `overdraw` in any case. `null`: nobody can say, and nobody is limited. */
  take(nowMs: number, options: { overdraw: boolean }): BucketState | Promise<BucketState | null>;
}

const MINUTE_MS = 60_000;
const ROUNDING = 1e-6;

/**
 * A token bucket that holds a minute's worth of requests and fills evenly. It may be overdrawn by requests that are not
 * refused: they are paid for by those that come after.
 */
export class TokenBucket implements RequestBucket {
  readonly #perMinute: number;
  #tokens: number;
  #atMs: number;

  constructor(perMinute: number, nowMs: number) {
    this.#perMinute = perMinute;
    this.#tokens = perMinute;
    this.#atMs = nowMs;
  }

  get perMinute(): number {
    return this.#perMinute;
  }

  /** Takes a token where there is one; with `overdraw` in any case. */
  take(nowMs: number, { overdraw }: { overdraw: boolean }): BucketState {
    const rate = this.#perMinute / MINUTE_MS;
    this.#tokens = Math.min(this.#perMinute, this.#tokens + Math.max(0, nowMs - this.#atMs) * rate);
    this.#atMs = nowMs;
    // Sums of fractions miss whole numbers by a hair.
    const waitMs = Math.max(0, Math.ceil((1 - this.#tokens) / rate - ROUNDING));
    if (waitMs === 0 || overdraw) this.#tokens = Math.max(-this.#perMinute, this.#tokens - 1);
    return {
      limit: this.#perMinute,
      remaining: Math.max(0, Math.floor(this.#tokens + ROUNDING)),
      resetMs: Math.ceil((this.#perMinute - this.#tokens) / rate - ROUNDING),
      waitMs,
    };
  }
}
