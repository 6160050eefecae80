import { PRIORITIES, type Priority } from '@batch-infer/contracts';

interface Waiter {
  readonly rank: number;
  readonly admit: (admitted: boolean) => void;
}

/**
 * Lets one offer at a time through to the runner, the highest priority that waits first, and none while it is shut.
 * One at a time, because a runner that fills up must be able to say so before it is handed the next one.
 */
export class PriorityGate {
  #open: boolean;
  #occupied = false;
  #waiters: Waiter[] = [];

  constructor(params: { open: boolean }) {
    this.#open = params.open;
  }

  open(): void {
    this.#open = true;
  }

  /** Turns away everybody who waits; who is inside goes on. */
  shut(): void {
    this.#open = false;
    const turnedAway = this.#waiters;
    this.#waiters = [];
    for (const waiter of turnedAway) waiter.admit(false);
  }

  /** Runs `work` when its turn comes; `null` when the gate is or gets shut before. */
  async pass<Result>(priority: Priority, work: () => Promise<Result>): Promise<Result | null> {
    if (!this.#open) return null;
    const admitted = await this.#wait(priority);
    if (!admitted) return null;
    try {
      return await work();
    } finally {
      this.#occupied = false;
      this.#admitLater();
    }
  }

  #wait(priority: Priority): Promise<boolean> {
    return new Promise((resolve) => {
      this.#waiters.push({ rank: PRIORITIES.indexOf(priority), admit: resolve });
      this.#admitLater();
    });
  }

  /**
   * Later, so that all batches of one fetch, which come in the same tick, are in line before the first passes, and so that
   * a batch of high priority is in line again with its next record.
   */
  #admitLater(): void {
    setImmediate(() => this.#admitNext());
  }

  #admitNext(): void {
    if (this.#occupied || !this.#open) return;
    const [first, ...others] = this.#waiters;
    if (first === undefined) return;
    const next = others.reduce((best, waiter) => (waiter.rank < best.rank ? waiter : best), first);
    this.#waiters = this.#waiters.filter((waiter) => waiter !== next);
    this.#occupied = true;
    next.admit(true);
  }
}
