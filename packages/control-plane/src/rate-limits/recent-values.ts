import type { Clock } from '../ports/clock.js';

/** Values that may be a little old: one request reads a new one, and others go on with what is known meanwhile. */
export class RecentValues<T> {
  readonly #read: (key: string) => Promise<T>;
  readonly #freshMs: number;
  readonly #clock: Clock;
  readonly #known = new Map<string, { value: T; readAtMs: number }>();

  constructor(params: { read: (key: string) => Promise<T>; freshMs: number; clock: Clock }) {
    this.#read = params.read;
    this.#freshMs = params.freshMs;
    this.#clock = params.clock;
  }

  /** @throws what reading throws; the value of before stays known */
  async get(key: string): Promise<T> {
    const nowMs = this.#clock.nowMs();
    const known = this.#known.get(key);
    if (known !== undefined && nowMs - known.readAtMs < this.#freshMs) return known.value;
    if (known !== undefined) known.readAtMs = nowMs;
    const value = await this.#read(key);
    this.#known.set(key, { value, readAtMs: nowMs });
    return value;
  }

  /** However old; `null` while nothing is known. */
  last(key: string): T | null {
    return this.#known.get(key)?.value ?? null;
  }
}
