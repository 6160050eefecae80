import type { JobState } from '@batch-infer/contracts';
import { toBatchId, toJobStatus, toMessageBatchId } from '@batch-infer/contracts';
import type { WebhookEvent, WebhookEventType } from '@batch-infer/contracts/webhooks';
import type { JobRecord } from '../ports/records.js';

/** What is said of a job's end, by the rules of the dialect it was made in. Pure. */

const TYPES: Partial<Record<JobState, WebhookEventType>> = {
  succeeded: 'batch.completed',
  failed: 'batch.failed',
  cancelled: 'batch.cancelled',
  expired: 'batch.expired',
};

type EndedJob = Pick<JobRecord, 'id' | 'dialect' | 'state' | 'endReason' | 'inputErrors'>;

/** The type of the event that a job's end is; `null` while it goes on. */
export function eventTypeOf(job: EndedJob): WebhookEventType | null {
  // OpenAI calls a batch completed whose every line failed: `failed` is for what was refused or given up.
  const ran = job.state === 'failed' && job.inputErrors.length === 0 && job.endReason !== 'error_limit';
  if (ran && job.dialect === 'openai') return 'batch.completed';
  return TYPES[job.state] ?? null;
}

export function toWebhookEvent(params: {
  eventId: string;
  type: WebhookEventType;
  job: Pick<JobRecord, 'id' | 'dialect' | 'state'>;
  nowMs: number;
}): WebhookEvent {
  const { eventId, type, job, nowMs } = params;
  return {
    id: eventId,
    object: 'event',
    type,
    created_at: Math.floor(nowMs / 1_000),
    data: { id: nameOf(job) },
    x_batch_infer: { job_id: job.id, status: toJobStatus(job.state) },
  };
}

function nameOf({ id, dialect }: Pick<JobRecord, 'id' | 'dialect'>): string {
  if (dialect === 'openai') return toBatchId(id);
  return dialect === 'anthropic' ? toMessageBatchId(id) : id;
}
