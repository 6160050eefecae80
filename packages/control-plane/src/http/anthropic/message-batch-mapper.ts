import { isTerminal, toMessageBatchId } from '@batch-infer/contracts';
import type { MessageBatch } from '@batch-infer/contracts/anthropic';
import type { JobRecord } from '../../ports/records.js';

/** A job as Anthropic's SDKs read a message batch. `origin`: where clients reach us, for `results_url`. */
export function toMessageBatch(job: JobRecord, origin: string): MessageBatch {
  const id = toMessageBatchId(job.id);
  const status = statusOf(job);
  const ended = status === 'ended';
  const { succeeded, failed: errored, cancelled: canceled, expired } = job;
  return {
    id,
    type: 'message_batch',
    processing_status: status,
    request_counts: {
      // What has not ended: the counts always sum to the number of requests.
      processing: Math.max(0, job.total - succeeded - errored - canceled - expired),
      succeeded,
      errored,
      canceled,
      expired,
    },
    ended_at: ended ? timeOrNull(job.finishedAtMs) : null,
    created_at: time(job.createdAtMs),
    expires_at: time(job.expiresAtMs),
    archived_at: null,
    cancel_initiated_at: job.endReason === 'cancelled' ? timeOrNull(job.cancellingAtMs) : null,
    results_url: ended ? `${origin}/v1/messages/batches/${id}/results` : null,
  };
}

/** Only what was cancelled is `canceling`: a batch whose time is over is in progress until its results are there. */
function statusOf(job: JobRecord): MessageBatch['processing_status'] {
  if (isTerminal(job.state)) return 'ended';
  return job.endReason === 'cancelled' ? 'canceling' : 'in_progress';
}

const time = (atMs: number): string => new Date(atMs).toISOString();
const timeOrNull = (atMs: number | null): string | null => (atMs === null ? null : time(atMs));
