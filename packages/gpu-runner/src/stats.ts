import type { FailureCode } from '@batch-infer/contracts';
import type { FinishReason } from './engine/answer.js';

/** What a runner counts about itself: plain numbers, read when somebody asks for `/metrics`. */
export class RunnerStats {
  succeeded = 0;
  failed = 0;
  attempts = 0;
  /** Milliseconds of all attempts. */
  attemptMs = 0;
  inputTokens = 0;
  cachedTokens = 0;
  outputTokens = 0;
  claimed = 0;
  leasesLost = 0;
  settles = 0;
  settleTroubles = 0;
  /** Attempts that failed, by cause; items that failed for good are among them. */
  readonly failures = new Map<FailureCode, number>();

  /** Answers by why they ended. */
  readonly finishReasons = new Map<FinishReason, number>();
  /** Outcomes that the control plane did not take. */
  refusedOutcomes = 0;

  countFinish(reason: FinishReason): void {
    this.finishReasons.set(reason, (this.finishReasons.get(reason) ?? 0) + 1);
  }

  countFailure(code: FailureCode): void {
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }

  get ended(): number {
    return this.succeeded + this.failed;
  }
}

/** Items a second, smoothed over some seconds. `tick()` is to be called about every second. */
export class RateMeter {
  #rate = 0;
  #count = 0;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  tick(count: number, nowMs: number): void {
    const elapsedMs = nowMs - this.#atMs;
    if (elapsedMs < 200) return;
    const now = ((count - this.#count) * 1_000) / elapsedMs;
    const weight = 1 - Math.exp(-elapsedMs / 3_000);
    this.#rate += weight * (now - this.#rate);
    this.#count = count;
    this.#atMs = nowMs;
  }

  get perSecond(): number {
    return Math.round(this.#rate * 100) / 100;
  }
}
