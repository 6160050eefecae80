import type { EndReason } from '@batch-infer/contracts';
import type { ErrorGroup, ItemOutcome, UsageTotals } from '../ports/records.js';

/** Rules of jobs, pure. */

/** Groups kept with a job; failures beyond are counted in the last one. */
export const MAX_ERROR_GROUPS = 50;
/** Characters of a group's message: enough to tell errors apart. */
export const GROUP_MESSAGE_CHARS = 300;
/** Ended items below which the error limit does not act: a share of a few items says little. */
const ERROR_LIMIT_MIN_ENDED = 20;

const OTHER_ERRORS = 'Other errors.';

/** Counts failed outcomes into a job's groups by code and message. The first item of a group is its sample. */
export function mergeErrorGroups(
  groups: readonly ErrorGroup[],
  outcomes: readonly ItemOutcome[],
): ErrorGroup[] {
  const merged = new Map(groups.map((group) => [groupKey(group.code, group.message), group]));
  for (const { index, customId, error } of outcomes) {
    if (error === null) continue;
    let { code, message }: { code: string; message: string } = error;
    message = message.slice(0, GROUP_MESSAGE_CHARS);
    const full = merged.size >= MAX_ERROR_GROUPS - 1 && !merged.has(groupKey(code, message));
    if (full) [code, message] = ['other', OTHER_ERRORS];
    const key = groupKey(code, message);
    const group = merged.get(key) ?? { code, message, count: 0, sample: { index, custom_id: customId } };
    merged.set(key, { ...group, count: group.count + 1 });
  }
  return [...merged.values()];
}

const groupKey = (code: string, message: string): string => `${code}\n${message}`;

export const NO_USAGE: UsageTotals = {
  inputTokens: 0,
  cachedInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
};

export function sumUsage(outcomes: readonly ItemOutcome[]): UsageTotals {
  let { inputTokens, cachedInputTokens, outputTokens, reasoningTokens } = NO_USAGE;
  for (const { usage } of outcomes) {
    if (usage === null) continue;
    inputTokens += usage.inputTokens;
    cachedInputTokens += usage.cachedInputTokens;
    outputTokens += usage.outputTokens;
    reasoningTokens += usage.reasoningTokens;
  }
  return { inputTokens, cachedInputTokens, outputTokens, reasoningTokens };
}

/** True when the share of failed items is over the job's limit. */
export function isOverErrorLimit(job: {
  maxErrorRate: number | null;
  succeeded: number;
  failed: number;
}): boolean {
  const ended = job.succeeded + job.failed;
  return job.maxErrorRate !== null && ended >= ERROR_LIMIT_MIN_ENDED && job.failed / ended > job.maxErrorRate;
}

/** True when every item has ended, or was left out by a retry. */
export const isComplete = (job: {
  total: number;
  succeeded: number;
  failed: number;
  excluded: number;
}): boolean => job.succeeded + job.failed + job.excluded >= job.total;

/** The status of items that were never run, by the reason for which their job ended. */
export const neverRunStatus = (reason: EndReason | null): 'expired' | 'cancelled' =>
  reason === 'expired' ? 'expired' : 'cancelled';

/** Items that succeeded at an engine: only those have tokens to judge the others by. */
export const ranItems = (job: { readonly succeeded: number; readonly reused_items: number }): number =>
  job.succeeded - job.reused_items;
