import { FAILURE_RULES, type FailureCode } from '@batch-infer/contracts';

/** What an item has been through. Kept across leases of this runner, see `ItemMemory`. */
export interface AttemptHistory {
  /** Failed attempts that count. */
  readonly charged: number;
  /** Failures that do not count, by cause. Refused for want of room; in a row. */
  readonly overloaded: number;
  /** Times that the engine had no room for it, though it had for others. */
  readonly alone: number;
  /** No engine was reached. */
  readonly unreached: number;
  /** The engine broke off a request that it had begun. */
  readonly interrupted: number;
  /** Charged to the engine, which fails healthy items too. */
  readonly noisy: number;
  /** Times an engine died while it ran the item. */
  readonly deaths: number;
}

export const NO_HISTORY: AttemptHistory = {
  charged: 0,
  overloaded: 0,
  alone: 0,
  unreached: 0,
  interrupted: 0,
  noisy: 0,
  deaths: 0,
};

export interface RetryQuestion {
  readonly code: FailureCode;
  readonly history: AttemptHistory;
  readonly maxAttempts: number;
  /** True when the engine was down or going down: the item is not to blame. */
  readonly excused: boolean;
  /** True when the engine died under the item. */
  readonly engineDied: boolean;
  /** The engine had no room for this item, though it had for others since. */
  readonly alone: boolean;
  /** False when no connection came about: nobody has seen the request. */
  readonly reached: boolean;
  /** The engine's hint. */
  readonly retryAfterMs: number | null;
  /** Share of attempts that fail for no fault of their item, see `NoiseMeter`. */
  readonly noise: number;
  /** Source of jitter, 0 to 1. */
  readonly random: () => number;
}

export type RetryDecision =
  | { readonly outcome: 'retry'; readonly delayMs: number; readonly history: AttemptHistory }
  | { readonly outcome: 'fail'; readonly attempts: number };

/** Sparse errors are tried again almost at once; only an item that fails again and again waits. */
const CHARGED_CEILINGS_MS = [20, 100, 500, 1_000, 2_000, 4_000, 8_000];
const UNCHARGED_CEILINGS_MS = [500, 1_000, 2_000, 4_000, 8_000];
const EXCUSED_MS = 300;
/** A hint of an hour would hold the item's job for an hour, and may be untrue a second later. */
const HINT_MAX_MS = 10_000;
/** Refusals for want of room beside others that are taken, after which they count. */
const FREE_ALONE = 3;
/** Times that no engine was reached with an item for which it is not charged. */
const FREE_UNREACHED = 5;
/** Requests of an item within which interruptions are free, also where `max_attempts` is less. */
const REQUESTS_WITH_INTERRUPTIONS = 3;
/** Engine deaths after which an item runs alone, and after which it has failed. */
export const DEATHS_BEFORE_ALONE = 2;
const DEATHS_BEFORE_FAILURE = 3;
/** Chance that an item may fail by noise alone in spite of all its attempts. */
const ACCEPTED_NOISE_FAILURE = 1e-6;
const MAX_NOISE = 0.5;

/**
 * Whether and when a failed item runs again. Final failures end it, charged ones after `maxAttempts`. Uncharged is what
 * another is to blame for, and it is bounded all the same: interruptions by the requests of the item in all, noise by
 * what has been measured.
 */
export function decideRetry(question: RetryQuestion): RetryDecision {
  const { code, history, maxAttempts, random } = question;
  const rule = FAILURE_RULES[code].retry;
  const deaths = history.deaths + (question.engineDied ? 1 : 0);
  if (deaths >= DEATHS_BEFORE_FAILURE) return { outcome: 'fail', attempts: Math.min(deaths, maxAttempts) };
  if (rule === 'final') return { outcome: 'fail', attempts: history.charged + 1 };
  const alone = history.alone + (question.alone ? 1 : 0);
  if (code === 'engine_overloaded' && !(question.alone && alone > FREE_ALONE)) {
    const overloaded = history.overloaded + 1;
    const delayMs = hintOrBackoffMs(question, UNCHARGED_CEILINGS_MS, overloaded);
    return { outcome: 'retry', delayMs, history: { ...history, overloaded, alone } };
  }
  // The breaker holds it back for as long as the engine is away.
  if (question.excused)
    return { outcome: 'retry', delayMs: random() * EXCUSED_MS, history: { ...history, deaths } };
  if (!question.reached && rule === 'uncharged' && history.unreached < FREE_UNREACHED) {
    const unreached = history.unreached + 1;
    const delayMs = backoffMs(UNCHARGED_CEILINGS_MS, unreached, random);
    return { outcome: 'retry', delayMs, history: { ...history, unreached } };
  }
  const requests = history.charged + history.interrupted + 1;
  const isLast = requests >= Math.max(maxAttempts, REQUESTS_WITH_INTERRUPTIONS);
  if (question.reached && rule === 'uncharged' && code !== 'engine_overloaded' && !isLast) {
    const interrupted = history.interrupted + 1;
    const delayMs = backoffMs(UNCHARGED_CEILINGS_MS, interrupted, random);
    return { outcome: 'retry', delayMs, history: { ...history, interrupted } };
  }
  const charged = history.charged + 1;
  if (charged < maxAttempts && !isLast) {
    const delayMs = hintOrBackoffMs(question, CHARGED_CEILINGS_MS, charged);
    return { outcome: 'retry', delayMs, history: { ...history, charged } };
  }
  if (code !== 'engine_overloaded' && history.noisy < noiseAllowance(question.noise, maxAttempts)) {
    const noisy = history.noisy + 1;
    const delayMs = hintOrBackoffMs(question, CHARGED_CEILINGS_MS, charged + noisy);
    return { outcome: 'retry', delayMs, history: { ...history, noisy } };
  }
  return { outcome: 'fail', attempts: Math.min(requests, maxAttempts) };
}

/**
 * Requests that are charged to the engine, beyond `maxAttempts` of the item, that make a failure by noise alone unlikely:
 * with a share `p` of attempts failing at random, an item fails `n` times in a row with probability `p^n`. Where nothing but the item fails, none are added.
 */
export function noiseAllowance(noise: number, maxAttempts: number): number {
  if (maxAttempts <= 1 || noise <= 0) return 0;
  const needed = Math.ceil(Math.log(ACCEPTED_NOISE_FAILURE) / Math.log(Math.min(noise, MAX_NOISE)));
  return Math.max(0, needed - maxAttempts);
}

function hintOrBackoffMs(question: RetryQuestion, ceilingsMs: readonly number[], failures: number): number {
  const { retryAfterMs, random } = question;
  if (retryAfterMs === null) return backoffMs(ceilingsMs, failures, random);
  // Jitter after the hint, so that the refused do not come back as one.
  const hintMs = Math.min(retryAfterMs, HINT_MAX_MS);
  return hintMs + random() * Math.max(50, hintMs / 10);
}

/** Full jitter: anything up to the ceiling of this many failures. */
function backoffMs(ceilingsMs: readonly number[], failures: number, random: () => number): number {
  const ceilingMs = ceilingsMs[Math.min(failures, ceilingsMs.length) - 1] ?? 0;
  return random() * ceilingMs;
}
