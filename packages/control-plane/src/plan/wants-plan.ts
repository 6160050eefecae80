import { LIMITS } from '@batch-infer/contracts';
import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import type { JobOptions } from '@batch-infer/contracts/native';
import { itemsByModel } from '../jobs/judge.js';

/** Jobs of fewer items are through before an order could gain anything. */
const LEAST_ITEMS = 512;
/** Shards more than grouping by model would leave. */
const LEAST_SURPLUS_SHARDS = 8;

/**
 * Whether reading a job's input again to find a better order may be worth it. Judged by what the scan saw, so that jobs
 * that cannot gain are ready at once.
 */
export function wantsPlan(summary: ScanSummary, options: JobOptions): boolean {
  if (options.plan_order === 'input') return false;
  if (mixesModels(summary, options)) return true;
  // Identical requests of one shard run once: they have to be in one.
  if (sharesAnswers(options) && summary.items > LIMITS.shardItems) return true;
  if (summary.items < LEAST_ITEMS) return false;
  const { hints } = summary;
  return hints === undefined || hints.sharedPrefixes || hints.unequalLengths;
}

/** Whether identical requests of the job may share an answer. */
export const sharesAnswers = ({ reuse }: JobOptions): boolean => reuse === 'job' || reuse === 'project';

/** Whether a job has to pass through the planner: an order to look for, or answers of earlier jobs. */
export const needsPlanner = (summary: ScanSummary, options: JobOptions): boolean =>
  options.reuse === 'project' || wantsPlan(summary, options);

/** Models that alternate make a shard at every change: grouped by model there would be far fewer. */
function mixesModels(summary: ScanSummary, options: JobOptions): boolean {
  const { length } = summary.shards;
  const grouped = Object.values(itemsByModel(summary, options)).reduce(
    (shards, items) => shards + Math.ceil(items / LIMITS.shardItems),
    0,
  );
  return length >= 2 * grouped && length - grouped >= LEAST_SURPLUS_SHARDS;
}
