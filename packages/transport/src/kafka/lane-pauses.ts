import type { PausedPartitions } from './kafka-client.js';

interface Partition {
  readonly topic: string;
  readonly partition: number;
}

/**
 * What a model's consumer does not read now: everything, when the runner is full, or single partitions whose next offer
 * the runner called busy. A partition is held back as a whole, since Kafka's order has no way around its first record.
 */
export class LanePauses {
  #all: boolean;
  #closed = false;
  readonly #held = new Map<string, { readonly place: Partition; readonly timer: NodeJS.Timeout }>();
  readonly #onChange: (paused: PausedPartitions) => void;

  constructor(params: { all: boolean; onChange: (paused: PausedPartitions) => void }) {
    this.#all = params.all;
    this.#onChange = params.onChange;
  }

  pauseAll(): void {
    if (this.#all) return;
    this.#all = true;
    this.#changed();
  }

  /** Releases held partitions too: whoever resumes has room now. */
  resumeAll(): void {
    if (!this.#all && this.#held.size === 0) return;
    this.#all = false;
    for (const { timer } of this.#held.values()) clearTimeout(timer);
    this.#held.clear();
    this.#changed();
  }

  hold({ topic, partition }: Partition, durationMs: number): void {
    if (this.#closed) return;
    const key = keyOf({ topic, partition });
    clearTimeout(this.#held.get(key)?.timer);
    const timer = setTimeout(() => {
      this.#held.delete(key);
      this.#changed();
    }, durationMs);
    this.#held.set(key, { place: { topic, partition }, timer });
    this.#changed();
  }

  isHeld(partition: Partition): boolean {
    return this.#all || this.#held.has(keyOf(partition));
  }

  current(): PausedPartitions {
    return { all: this.#all, partitions: [...this.#held.values()].map(({ place }) => place) };
  }

  /** Ends the timers. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#held.values()) clearTimeout(timer);
    this.#held.clear();
  }

  #changed(): void {
    this.#onChange(this.current());
  }
}

const keyOf = ({ topic, partition }: Partition): string => `${topic}/${partition}`;
