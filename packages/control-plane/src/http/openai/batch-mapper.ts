import { type JobState, toBatchId } from '@batch-infer/contracts';
import type { Batch } from '@batch-infer/contracts/openai';
import type { JobRecord } from '../../ports/records.js';

/** A job as OpenAI's SDKs read a batch: every key present, `null` when unset, times in Unix seconds. */
export function toBatch(job: JobRecord): Batch {
  const status = statusOf(job);
  const finishedAt = seconds(job.finishedAtMs);
  const at = (wanted: Batch['status']): number | null => (status === wanted ? finishedAt : null);
  return {
    id: toBatchId(job.id),
    object: 'batch',
    endpoint: job.options.endpoint ?? '',
    model: job.models.length === 1 ? (job.models[0] ?? null) : null,
    errors: errorsOf(job, status),
    input_file_id: job.inputFileId,
    completion_window: job.completionWindow,
    status,
    output_file_id: job.outputFileId,
    error_file_id: job.errorFileId,
    created_at: Math.floor(job.createdAtMs / 1_000),
    in_progress_at: seconds(job.startedAtMs ?? job.queuedAtMs),
    expires_at: seconds(job.expiresAtMs),
    finalizing_at: seconds(job.finalizingAtMs),
    completed_at: at('completed'),
    failed_at: at('failed'),
    expired_at: at('expired'),
    cancelling_at: job.endReason === 'cancelled' ? seconds(job.cancellingAtMs) : null,
    cancelled_at: at('cancelled'),
    request_counts: { total: job.total, completed: job.succeeded, failed: job.failed },
    usage: {
      input_tokens: job.usage.inputTokens,
      input_tokens_details: { cached_tokens: job.usage.cachedInputTokens },
      output_tokens: job.usage.outputTokens,
      output_tokens_details: { reasoning_tokens: job.usage.reasoningTokens },
      total_tokens: job.usage.inputTokens + job.usage.outputTokens,
    },
    metadata: job.options.metadata ?? null,
  };
}

const STATUS: Readonly<Record<JobState, Batch['status']>> = {
  validating: 'validating',
  queued: 'in_progress',
  running: 'in_progress',
  finalizing: 'finalizing',
  succeeded: 'completed',
  failed: 'failed',
  cancelling: 'cancelling',
  cancelled: 'cancelled',
  expired: 'expired',
};

/** A batch whose every line failed is `completed`, with an error file: `failed` is for what was refused or given up. */
function statusOf(job: JobRecord): Batch['status'] {
  if (job.state === 'failed' && job.inputErrors.length === 0 && job.endReason !== 'error_limit')
    return 'completed';
  // Finalizing a cancelled batch is part of cancelling it; calling back what runs of an expired one is not.
  if (job.state === 'finalizing' && job.endReason === 'cancelled') return 'cancelling';
  if (job.state === 'cancelling' && job.endReason !== 'cancelled') return 'in_progress';
  return STATUS[job.state];
}

function errorsOf(job: JobRecord, status: Batch['status']): Batch['errors'] {
  if (status !== 'failed') return null;
  const data = job.inputErrors.map(({ code, message, param, line }) => ({ code, message, param, line }));
  if (data.length === 0) {
    const message = `More than ${job.options.max_error_rate ?? 0} of the requests failed, so that the rest was not run.`;
    data.push({ code: 'error_limit', message, param: null, line: null });
  }
  return { object: 'list', data };
}

const seconds = (atMs: number | null): number | null => (atMs === null ? null : Math.floor(atMs / 1_000));
