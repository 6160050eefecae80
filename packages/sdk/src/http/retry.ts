import { APIError } from '../errors.js';

/** Longest hint of a server that is obeyed. */
const LONGEST_HINT_MS = 60_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 8_000;

/** What the headers of an answer say about trying again. */
export interface RetryHints {
  readonly retryAfterMs: number | undefined;
  /** `x-should-retry`, which outranks the status. */
  readonly shouldRetry: boolean | undefined;
}

/** Reads `retry-after-ms`, `retry-after` (seconds or a date) and `x-should-retry`. Nonsense counts as absent. */
export function readRetryHints(headers: Headers, nowMs: number): RetryHints {
  const verdict = headers.get('x-should-retry');
  return {
    retryAfterMs: readRetryAfter(headers, nowMs),
    shouldRetry: verdict === 'true' ? true : verdict === 'false' ? false : undefined,
  };
}

function readRetryAfter(headers: Headers, nowMs: number): number | undefined {
  const milliseconds = headers.get('retry-after-ms');
  if (milliseconds !== null) return usable(Number.parseFloat(milliseconds));
  const text = headers.get('retry-after');
  if (text === null) return undefined;
  const seconds = Number(text);
  return usable(Number.isNaN(seconds) ? Date.parse(text) - nowMs : seconds * 1000);
}

const usable = (delayMs: number): number | undefined =>
  Number.isFinite(delayMs) ? Math.min(Math.max(delayMs, 0), LONGEST_HINT_MS) : undefined;

/** Whether an answer with this status may be followed by another attempt. 507 is a full disk: waiting does not help. */
export function isRetryableStatus(status: number, hints: RetryHints): boolean {
  if (hints.shouldRetry !== undefined) return hints.shouldRetry;
  // A conflict that names a delay is a request with the same key still in flight.
  if (status === 409) return hints.retryAfterMs !== undefined;
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 507);
}

export type RetryDecision =
  | { readonly outcome: 'retry'; readonly delayMs: number }
  | { readonly outcome: 'stop' };

/**
 * Whether and when to try again: the server's hint first, else full jitter over 0.5, 1, 2, 4, 8 seconds.
 * `attempt` is 1-based; `random` gives numbers in [0, 1).
 */
export function decideRetry(failure: {
  readonly error: unknown;
  readonly attempt: number;
  readonly maxRetries: number;
  /** False when the body cannot be sent a second time. */
  readonly repeatable: boolean;
  readonly random: () => number;
}): RetryDecision {
  const { error, attempt, maxRetries, repeatable } = failure;
  if (!(error instanceof APIError) || !error.retryable || !repeatable) return { outcome: 'stop' };
  if (attempt > maxRetries) return { outcome: 'stop' };
  return { outcome: 'retry', delayMs: error.retryAfterMs ?? jitteredDelayMs(attempt, failure.random) };
}

/** Full jitter: anywhere between 0 and the doubled delay. */
export function jitteredDelayMs(attempt: number, random: () => number): number {
  return Math.round(random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1)));
}
