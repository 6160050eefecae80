import type { ProjectLimitsLedger } from '../ports/project-limits.js';
import type { BucketState, RequestBucket } from './token-bucket.js';

const MINUTE_MS = 60_000;
/** A block is three seconds' worth: twenty looks at the ledger a minute, whatever the limit. */
const BLOCKS_A_MINUTE = 20;
/** What a process holds and does not use goes back after this, and what others have done is seen. */
const HOLD_MS = 5_000;
/** After a ledger did not answer. */
const SILENCE_MS = 1_000;

/**
 * The part of one process in a bucket that several processes share. It takes small blocks of requests from the ledger
 * and hands them out itself, so that the ledger is not written for each request; while the bucket is empty it is not
 * asked at all. What all processes let through together is the limit, and at most a block of each that was granted before.
 */
export class SharedBucket implements RequestBucket {
  readonly perMinute: number;
  readonly #projectId: string;
  readonly #ledger: Pick<ProjectLimitsLedger, 'takeRequests'>;
  readonly #block: number;
  readonly #costMs: number;
  /** Granted, and not yet made. */
  #held = 0;
  /** Made, and not yet told to the ledger. */
  #overdrawn = 0;
  #fullAtMs = 0;
  /** When the ledger will have one to grant. */
  #nextAtMs = 0;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #silentUntilMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | null = null;

  constructor(params: {
    projectId: string;
    perMinute: number;
    ledger: Pick<ProjectLimitsLedger, 'takeRequests'>;
  }) {
    this.#projectId = params.projectId;
    this.perMinute = params.perMinute;
    this.#ledger = params.ledger;
    this.#block = Math.ceil(params.perMinute / BLOCKS_A_MINUTE);
    this.#costMs = MINUTE_MS / params.perMinute;
  }

  async take(nowMs: number, { overdraw }: { overdraw: boolean }): Promise<BucketState | null> {
    for (;;) {
      if (nowMs < this.#silentUntilMs) return null;
      if (nowMs - this.#askedAtMs < HOLD_MS) {
        if (this.#held >= 1) {
          this.#held -= 1;
          return this.#state(nowMs, 0);
        }
        const waitMs = this.#nextAtMs - nowMs;
        if (waitMs > 0) {
          if (overdraw) this.#overdraw(nowMs);
          return this.#state(nowMs, waitMs);
        }
      }
      // Those that come at the same moment share one question.
      this.#asking ??= this.#ask(nowMs).finally(() => {
        this.#asking = null;
      });
      await this.#asking;
    }
  }

  #overdraw(nowMs: number): void {
    if (this.#fullAtMs >= nowMs + 2 * MINUTE_MS) return;
    this.#overdrawn += 1;
    this.#fullAtMs += this.#costMs;
    this.#nextAtMs += this.#costMs;
  }

  async #ask(nowMs: number): Promise<void> {
    const [returned, overdrawn] = [this.#held, this.#overdrawn];
    try {
      const { granted, fullAtMs } = await this.#ledger.takeRequests({
        projectId: this.#projectId,
        perMinute: this.perMinute,
        wanted: this.#block,
        returned,
        overdrawn,
        nowMs,
      });
      this.#held = granted;
      this.#overdrawn -= overdrawn;
      this.#fullAtMs = fullAtMs;
      // The ledger counts in whole microseconds: what it refused is not asked for again at the same time.
      this.#nextAtMs = Math.max(
        granted === 0 ? nowMs + 1 : 0,
        Math.ceil(fullAtMs - MINUTE_MS + this.#costMs),
      );
      this.#askedAtMs = nowMs;
    } catch {
      // A ledger that does not answer limits nobody: the request will find out itself.
      this.#silentUntilMs = nowMs + SILENCE_MS;
    }
  }

  #state(nowMs: number, waitMs: number): BucketState {
    const owedMs = Math.max(0, this.#fullAtMs - nowMs);
    const left = Math.floor((MINUTE_MS - owedMs) / this.#costMs);
    return {
      limit: this.perMinute,
      remaining: Math.max(0, Math.min(this.perMinute, left + this.#held)),
      resetMs: Math.ceil(Math.max(0, owedMs - this.#held * this.#costMs)),
      waitMs,
    };
  }
}
