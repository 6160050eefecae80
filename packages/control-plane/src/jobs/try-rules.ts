/** Tries for which the job itself is to blame, after which it is given up: with their distances, about two minutes. */
export const OWN_TRIES = 8;
const DELAYS_MS = [1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000] as const;
const LONGEST_DELAY_MS = 60_000;
/** A job past its completion window is tried for this long all the same. */
const OVERDUE_AFTER_MS = 10 * 60_000;

export interface FailedTry {
  /** This one counted. */
  readonly tries: number;
  /** Those of them for which the job itself is to blame. */
  readonly ownTries: number;
  readonly sinceMs: number;
  /** The store answers, and has what other jobs put there. While it is away no job is given up. */
  readonly storeIsWell: boolean;
  readonly isCancelled: boolean;
  readonly expiresAtMs: number;
  readonly nowMs: number;
}

export type AfterFailedTry =
  | { readonly outcome: 'retry'; readonly delayMs: number }
  | { readonly outcome: 'give_up'; readonly reason: 'tries' | 'cancelled' | 'expired' };

/** What becomes of a job that could not be planned or finalized. Pure. */
export function afterFailedTry(failed: FailedTry): AfterFailedTry {
  if (failed.storeIsWell) {
    if (failed.isCancelled) return { outcome: 'give_up', reason: 'cancelled' };
    if (failed.ownTries >= OWN_TRIES) return { outcome: 'give_up', reason: 'tries' };
    const isOverdue = failed.nowMs >= Math.max(failed.expiresAtMs, failed.sinceMs + OVERDUE_AFTER_MS);
    if (isOverdue) return { outcome: 'give_up', reason: 'expired' };
  }
  return { outcome: 'retry', delayMs: DELAYS_MS[failed.tries - 1] ?? LONGEST_DELAY_MS };
}
