/** States of a job and the rules between them. Pure: functions of (state, event), never a query. */

export const JOB_STATES = [
  'validating',
  'queued',
  'running',
  'finalizing',
  'succeeded',
  'failed',
  'cancelling',
  'cancelled',
  'expired',
] as const;
/** What the ledger stores; the native API shows it as `phase`. */
export type JobState = (typeof JOB_STATES)[number];

export const JOB_STATUSES = ['queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired'] as const;
/** What the native API shows as `status`. */
export type JobStatus = (typeof JOB_STATUSES)[number];

export const PRIORITIES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

export const ITEM_STATUSES = ['succeeded', 'failed', 'cancelled', 'expired'] as const;
/** The one end of an item (I2). */
export type ItemStatus = (typeof ITEM_STATUSES)[number];

const STATUS_OF: Record<JobState, JobStatus> = {
  validating: 'queued',
  queued: 'queued',
  running: 'running',
  finalizing: 'running',
  cancelling: 'running',
  succeeded: 'succeeded',
  failed: 'failed',
  cancelled: 'cancelled',
  expired: 'expired',
};

export const toJobStatus = (state: JobState): JobStatus => STATUS_OF[state];

const TERMINAL: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

/** True for states and statuses that end a job. */
export const isTerminal = (state: JobState | JobStatus): boolean => TERMINAL.has(state);

const NEXT: Record<JobState, readonly JobState[]> = {
  validating: ['queued', 'failed', 'cancelling', 'finalizing'],
  queued: ['running', 'cancelling', 'finalizing'],
  running: ['finalizing', 'cancelling'],
  // Stopped before its input was read to the end, which then turns out to be bad.
  cancelling: ['finalizing', 'failed'],
  finalizing: ['succeeded', 'failed', 'cancelled', 'expired'],
  // A retry of failed, cancelled or expired items opens an ended job again.
  succeeded: ['queued'],
  failed: ['queued'],
  cancelled: ['queued'],
  expired: ['queued'],
};

export const canMove = (from: JobState, to: JobState): boolean => NEXT[from].includes(to);

/** Why a job is being brought to its end; decides the terminal state. */
export type EndReason = 'completed' | 'cancelled' | 'expired' | 'error_limit';

/** The terminal state of a job whose items are all accounted for. */
export function terminalState(end: { reason: EndReason; succeeded: number; total: number }): JobState {
  if (end.reason === 'cancelled') return 'cancelled';
  if (end.reason === 'expired') return 'expired';
  if (end.reason === 'error_limit') return 'failed';
  return end.succeeded > 0 ? 'succeeded' : 'failed';
}
