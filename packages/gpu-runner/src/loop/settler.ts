import type { SettleResponse } from '@batch-infer/contracts/runner-protocol';
import type { Clock } from '../clock.js';
import { ServerError } from '../server/client.js';
import type { OutageWaits } from '../server/outage-waits.js';

const FLUSH_LINES = 64;
const FLUSH_BYTES = 4 * 1024 * 1024;
/** Lines of one segment, unless a single one is longer: well under the most that the control plane takes. */
const SEGMENT_BYTES = 16 * 1024 * 1024;
const FLUSH_INTERVAL_MS = 1_000;
/** Full segments of one shard come no faster than this, so that a fast engine does not make a transaction of each. */
const SPACING_MS = 500;
const BACKOFF_CEILINGS_MS = [200, 400, 800, 1_600, 3_200, 5_000];

/** A line of a segment in pieces: they are copied once, when the segment is made up. */
export type OutcomeLine = readonly Uint8Array[];

export interface SettlerOptions {
  readonly settle: (segment: Uint8Array) => Promise<SettleResponse>;
  readonly clock: Clock;
  readonly waits: OutageWaits;
  readonly random: () => number;
  readonly onSettled: (response: SettleResponse, lines: number) => void;
  /** `lost`: the lease is over; `refused`: the control plane will not take the segment. Pending outcomes are gone. */
  readonly onDropped: (why: 'lost' | 'refused', error: ServerError) => void;
  /** The control plane does not take segments now; it is tried again. */
  readonly onTrouble: (error: unknown) => void;
}

/**
 * Hands the outcomes of one shard over, one segment at a time: every second, every 64 outcomes (though not more often
 * than twice a second), and at once when asked to flush. Keeps them while the control plane is away. A segment is
 * repeated byte for byte until it is answered.
 */
export class Settler {
  readonly #options: SettlerOptions;
  #pending: OutcomeLine[] = [];
  #pendingBytes = 0;
  #sending = 0;
  #urgent = false;
  #running: Promise<void> | null = null;
  #cancelTimer: (() => void) | null = null;
  /** When the last segment was made up; at first, when the shard was taken. */
  #segmentAtMs: number;
  readonly #stopped = new AbortController();

  constructor(options: SettlerOptions) {
    this.#options = options;
    this.#segmentAtMs = options.clock.nowMs();
  }

  /** Outcomes not yet answered for. */
  get unsettled(): number {
    return this.#pending.length + this.#sending;
  }

  add(line: OutcomeLine): void {
    if (this.#stopped.signal.aborted) return;
    this.#pending.push(line);
    this.#pendingBytes += bytesOf(line);
    if (this.#due) this.#start();
    else if (this.#cancelTimer === null || this.#pending.length === FLUSH_LINES) this.#schedule();
  }

  /** Settles what is pending now. Resolves when nothing is, or when it was dropped. */
  async flush(): Promise<void> {
    while (this.unsettled > 0 && !this.#stopped.signal.aborted) {
      this.#urgent = true;
      this.#start();
      await this.#running;
    }
  }

  /** Drops what is pending; a segment under way is not repeated. */
  stop(): void {
    this.#stopped.abort();
    this.#cancelTimer?.();
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  get #due(): boolean {
    if (this.#pendingBytes >= FLUSH_BYTES) return true;
    return this.#pending.length >= FLUSH_LINES && this.#spacingLeftMs <= 0;
  }

  get #spacingLeftMs(): number {
    return this.#segmentAtMs + SPACING_MS - this.#options.clock.nowMs();
  }

  #schedule(): void {
    this.#cancelTimer?.();
    const delayMs = this.#pending.length >= FLUSH_LINES ? this.#spacingLeftMs : FLUSH_INTERVAL_MS;
    this.#cancelTimer = this.#options.clock.after(Math.max(0, delayMs), () => {
      this.#cancelTimer = null;
      void this.flush();
    });
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  async #run(): Promise<void> {
    while (this.#pending.length > 0 && (this.#urgent || this.#due)) {
      this.#cancelTimer?.();
      this.#cancelTimer = null;
      const lines = this.#takeSegment();
      if (this.#pending.length === 0) this.#urgent = false;
      this.#sending = lines.length;
      await this.#deliver(Buffer.concat(lines.flat()), lines.length);
      this.#sending = 0;
    }
    if (this.#pending.length > 0 && !this.#stopped.signal.aborted) this.#schedule();
  }

  #takeSegment(): OutcomeLine[] {
    this.#segmentAtMs = this.#options.clock.nowMs();
    let count = 0;
    let bytes = 0;
    for (const line of this.#pending) {
      const length = bytesOf(line);
      if (count > 0 && bytes + length > SEGMENT_BYTES) break;
      count += 1;
      bytes += length;
    }
    this.#pendingBytes -= bytes;
    return this.#pending.splice(0, count);
  }

  async #deliver(segment: Uint8Array, lines: number): Promise<void> {
    for (let failures = 0; !this.#stopped.signal.aborted; failures += 1) {
      try {
        const response = await this.#options.settle(segment);
        this.#sending = 0;
        if (!this.#stopped.signal.aborted) this.#options.onSettled(response, lines);
        return;
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        if (error instanceof ServerError && (error.leaseLost || !error.retryable)) {
          this.stop();
          this.#options.onDropped(error.leaseLost ? 'lost' : 'refused', error);
          return;
        }
        this.#options.onTrouble(error);
      }
      const ceilingMs = BACKOFF_CEILINGS_MS[Math.min(failures, BACKOFF_CEILINGS_MS.length - 1)] ?? 0;
      const delayMs = 50 + this.#options.random() * ceilingMs;
      await this.#options.waits.wait(delayMs, this.#stopped.signal);
    }
  }
}

function bytesOf(line: OutcomeLine): number {
  let bytes = 0;
  for (const piece of line) bytes += piece.length;
  return bytes;
}
