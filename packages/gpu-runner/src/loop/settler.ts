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

/** Answers with 500 to the same segment, after which it is taken for refused: then smaller ones are tried. */
const ERRORS_BEFORE_REFUSED = 5;
/** For so long a line is offered again and again where neither it nor its failure is taken, but 500 is answered. */
const NOTHING_TAKEN_MS = 600_000;

/** An outcome as a line of a segment. */
export interface OutcomeLine {
  /** They are copied once, when the segment is made up. */
  readonly pieces: readonly Uint8Array[];
  readonly ok: boolean;
  /** The line in its place when the control plane does not take it; `null` for one that stands in a place already. */
  readonly asFailure: ((reason: string) => OutcomeLine) | null;
}

export interface SettlerOptions {
  readonly settle: (segment: Uint8Array) => Promise<SettleResponse>;
  readonly clock: Clock;
  readonly waits: OutageWaits;
  readonly random: () => number;
  readonly onSettled: (response: SettleResponse, lines: number) => void;
  /** There is room for more outcomes. */
  readonly onRoom: () => void;
  /** The control plane did not take this line; another one takes its place. */
  readonly onRefused: (line: OutcomeLine, reason: string) => void;
  /** `lost`: the lease is over; `refused`: an outcome is not taken in any form. Pending outcomes are gone. */
  readonly onDropped: (why: 'lost' | 'refused', error: ServerError) => void;
  /** The control plane does not take segments now; it is tried again. */
  readonly onTrouble: (error: unknown) => void;
}

/**
 * Hands the outcomes of one shard over, one segment at a time: every second, every 64 outcomes (though not more often
 * than twice a second), and at once when asked to flush. Keeps them while the control plane is away. A segment is
 * repeated byte for byte until it is answered. One that is refused goes in halves; a line that is refused by itself
 * becomes a failure of its item, so that it costs nothing but that item.
 */
export class Settler {
  readonly #options: SettlerOptions;
  #pending: OutcomeLine[] = [];
  #pendingBytes = 0;
  #sending = 0;
  #sendingBytes = 0;
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

  get unsettledBytes(): number {
    return this.#pendingBytes + this.#sendingBytes;
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
      this.#sendingBytes = lines.reduce((sum, line) => sum + bytesOf(line), 0);
      await this.#deliver(lines);
      this.#sending = 0;
      this.#sendingBytes = 0;
      this.#options.onRoom();
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

  async #deliver(lines: readonly OutcomeLine[]): Promise<void> {
    const answer = await this.#offer(lines);
    if (answer === null) return;
    if (!(answer instanceof ServerError)) {
      await this.#taken(lines, answer);
      return;
    }
    const [line, ...others] = lines;
    if (line === undefined) return;
    if (others.length === 0) {
      await this.#deliverAlone(line, answer);
      return;
    }
    const middle = Math.ceil(lines.length / 2);
    await this.#deliver(lines.slice(0, middle));
    if (!this.#stopped.signal.aborted) await this.#deliver(lines.slice(middle));
  }

  /** Some lines may have been refused: their items fail. */
  async #taken(lines: readonly OutcomeLine[], answer: SettleResponse): Promise<void> {
    const refused = answer.refused ?? [];
    const failures: OutcomeLine[] = [];
    for (const { line: position, reason } of refused) {
      const line = lines[position];
      const failure = line?.asFailure?.(reason);
      if (line === undefined || failure === undefined) {
        this.#giveUp(new ServerError(200, null, reason));
        return;
      }
      this.#options.onRefused(line, reason);
      failures.push(failure);
    }
    const taken = lines.length - failures.length;
    this.#sending -= taken;
    this.#options.onSettled(answer, taken);
    if (failures.length > 0 && !this.#stopped.signal.aborted) await this.#deliver(failures);
  }

  /**
   * A line that was refused by itself: its failure is offered. Where that is answered with 500 as well it is the control
   * plane that is in trouble, so both are offered in turn; the line is never given up for a failure that was not taken.
   */
  async #deliverAlone(line: OutcomeLine, refusal: ServerError): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.nowMs() + NOTHING_TAKEN_MS;
    const failure = line.asFailure?.(refusal.message);
    if (failure === undefined) {
      this.#giveUp(refusal);
      return;
    }
    let last = refusal;
    do {
      const answer = await this.#offer([failure], 1);
      if (answer === null) return;
      if (!(answer instanceof ServerError)) {
        this.#options.onRefused(line, refusal.message);
        await this.#taken([failure], answer);
        return;
      }
      last = answer;
      if (last.status !== 500) break;
      const again = await this.#offer([line]);
      if (again === null) return;
      if (!(again instanceof ServerError)) {
        await this.#taken([line], again);
        return;
      }
    } while (clock.nowMs() < untilMs);
    this.#giveUp(last);
  }

  #giveUp(refusal: ServerError): void {
    this.stop();
    this.#options.onDropped('refused', refusal);
  }

  /**
   * Offers a segment until it is answered: with the answer, a refusal of the whole, or `null` after the end.
   * @param errorsAllowed Answers with 500 that are taken for a refusal.
   */
  async #offer(
    lines: readonly OutcomeLine[],
    errorsAllowed = ERRORS_BEFORE_REFUSED,
  ): Promise<SettleResponse | ServerError | null> {
    const segment = Buffer.concat(lines.flatMap(({ pieces }) => pieces));
    let errors = 0;
    for (let failures = 0; !this.#stopped.signal.aborted; failures += 1) {
      try {
        const response = await this.#options.settle(segment);
        return this.#stopped.signal.aborted ? null : response;
      } catch (error) {
        if (this.#stopped.signal.aborted) return null;
        if (error instanceof ServerError && error.leaseLost) {
          this.stop();
          this.#options.onDropped('lost', error);
          return null;
        }
        if (error instanceof ServerError && isAboutSegment(error)) {
          errors += 1;
          if (error.status !== 500 || errors >= errorsAllowed) return error;
        }
        this.#options.onTrouble(error);
      }
      const ceilingMs = BACKOFF_CEILINGS_MS[Math.min(failures, BACKOFF_CEILINGS_MS.length - 1)] ?? 0;
      const delayMs = 50 + this.#options.random() * ceilingMs;
      await this.#options.waits.wait(delayMs, this.#stopped.signal);
    }
    return null;
  }
}

/**
 * True when another segment may be taken where this one is not. Whatever else is answered (401, 404, 502, …) is about
 * the way to the control plane, or about its state: nothing is concluded, and the outcomes are kept.
 */
const isAboutSegment = (error: ServerError): boolean => [400, 413, 422, 500].includes(error.status);

function bytesOf(line: OutcomeLine): number {
  let bytes = 0;
  for (const piece of line.pieces) bytes += piece.length;
  return bytes;
}
