import type { SimRequestRecord, SimStats } from './types.js';

type MutableRecord = { -readonly [Key in keyof SimRequestRecord]: SimRequestRecord[Key] };

export type RequestEnd = 'completed' | 'aborted' | 'failed';

/** Counts what reached the engine and how it ended; it outlives `kill` and `revive`. */
export class RequestLog {
  readonly #records: Map<string, MutableRecord> | null;
  readonly #ends: Record<RequestEnd, number> = { completed: 0, aborted: 0, failed: 0 };
  #received = 0;
  #maxRunning = 0;
  #lastRequestAt: number | null = null;
  #idleSince = Date.now();

  constructor(keepRecords: boolean) {
    this.#records = keepRecords ? new Map() : null;
  }

  /** Notes an arrival and returns the attempt number of its body. */
  arrive(bodyHash: string, marker: string): number {
    const now = Date.now();
    this.#received += 1;
    this.#lastRequestAt = now;
    if (this.#records === null) return 1;
    const record = this.#records.get(bodyHash);
    if (record === undefined) {
      this.#records.set(bodyHash, {
        bodyHash,
        marker,
        received: 1,
        completed: 0,
        firstReceivedAt: now,
        lastReceivedAt: now,
      });
      return 1;
    }
    record.received += 1;
    record.lastReceivedAt = now;
    return record.received;
  }

  end(bodyHash: string, end: RequestEnd): void {
    this.#ends[end] += 1;
    if (this.#inFlight === 0) this.#idleSince = Date.now();
    if (end !== 'completed') return;
    const record = this.#records?.get(bodyHash);
    if (record !== undefined) record.completed += 1;
  }

  noteRunning(running: number): void {
    if (running > this.#maxRunning) this.#maxRunning = running;
  }

  stats(running: number, waiting: number): SimStats {
    const inFlight = this.#inFlight;
    return {
      received: this.#received,
      ...this.#ends,
      running,
      waiting,
      maxRunning: this.#maxRunning,
      inFlight,
      lastRequestAt: this.#lastRequestAt,
      idleSince: inFlight === 0 ? this.#idleSince : null,
    };
  }

  records(): SimRequestRecord[] {
    return [...(this.#records?.values() ?? [])].map((record) => ({ ...record }));
  }

  get #inFlight(): number {
    return this.#received - this.#ends.completed - this.#ends.aborted - this.#ends.failed;
  }
}
