interface Waiting {
  readonly bytes: number;
  readonly admit: () => void;
}

export interface ByteBudgetOptions {
  /** Bytes held at once. */
  readonly bytes: number;
}

/**
 * A bound, in bytes, on what all users of it hold in memory at once; in the order in which they ask. One that asks for
 * more than there is in all waits until it is alone, so that nothing waits for ever.
 */
export class ByteBudget {
  readonly #limit: number;
  #held = 0;
  readonly #waiting: Waiting[] = [];

  constructor({ bytes }: ByteBudgetOptions) {
    this.#limit = bytes;
  }

  /** Bytes that are held now. */
  get held(): number {
    return this.#held;
  }

  /**
   * Waits for room. The answer gives it back; to call it twice does no harm.
   * @throws the reason of `signal`; nothing is held then
   */
  async take(bytes: number, signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    const cost = Math.min(bytes, this.#limit);
    if (this.#waiting.length > 0 || !this.#fits(cost)) await this.#wait(cost, signal);
    else this.#held += cost;
    return this.#giveBack(cost);
  }

  /** Room that is there now, or `null`: for those who can do with less. */
  takeNow(bytes: number): (() => void) | null {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) return null;
    this.#held += bytes;
    return this.#giveBack(bytes);
  }

  #giveBack(cost: number): () => void {
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#held -= cost;
      this.#admit();
    };
  }

  #fits(cost: number): boolean {
    return this.#held + cost <= this.#limit;
  }

  #wait(cost: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal?.reason);
        // Whoever stood behind it may fit.
        this.#admit();
      };
      const waiting: Waiting = {
        bytes: cost,
        admit: () => {
          signal?.removeEventListener('abort', onAbort);
          this.#held += cost;
          resolve();
        },
      };
      this.#waiting.push(waiting);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  #admit(): void {
    for (let first = this.#waiting[0]; first !== undefined && this.#fits(first.bytes); ) {
      this.#waiting.shift();
      first.admit();
      first = this.#waiting[0];
    }
  }
}
