const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** Waits after each failed attempt: the last one is made about 28 hours after the first. */
export const RETRY_DELAYS_MS: readonly number[] = [
  5 * SECOND_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  10 * HOUR_MS,
];

/** Share by which a wait is longer or shorter, so that receivers that were down are not called by all at once. */
const JITTER = 0.1;

/** When to try again after so many attempts; `null` when it is given up. Pure. */
export function nextAttemptAtMs(params: {
  attempts: number;
  nowMs: number;
  random: () => number;
}): number | null {
  const delayMs = RETRY_DELAYS_MS[params.attempts - 1];
  if (delayMs === undefined) return null;
  return params.nowMs + Math.round(delayMs * (1 - JITTER + 2 * JITTER * params.random()));
}
