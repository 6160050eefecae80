import type { Job } from '@batch-infer/sdk';
import { EXIT } from '../exit-codes.js';
import type { Settings } from '../settings/settings.js';

/** How many failed items a command puts up with. */
export interface Tolerance {
  readonly maxFailures: number | undefined;
  readonly minSuccessRate: number | undefined;
}

export const readTolerance = (settings: Settings): Tolerance => ({
  maxFailures: settings.number('max-failures', { min: 0 }),
  minSuccessRate: settings.number('min-success-rate', { min: 0, max: 1, whole: false }),
});

/** The exit code for an ended job. */
export function exitCodeOf(job: Job, tolerance: Tolerance): number {
  if (job.status === 'cancelled') return EXIT.cancelled;
  if (job.status === 'expired') return EXIT.expired;
  if (job.status === 'failed') return job.inputErrors.length > 0 ? EXIT.usage : EXIT.jobFailed;
  const { total, succeeded } = job.counts;
  const { maxFailures, minSuccessRate } = tolerance;
  if (minSuccessRate !== undefined && succeeded < minSuccessRate * total) return EXIT.itemsFailed;
  const allowed = maxFailures ?? (minSuccessRate === undefined ? 0 : total);
  return total - succeeded > allowed ? EXIT.itemsFailed : EXIT.ok;
}
