import { emptyMask, type Mask, parseExactJson } from '@batch-infer/contracts';
import type { Insertable, Selectable } from 'kysely';
import type { FileRecord, JobProblem, JobRecord, SegmentRecord, ShardRecord } from '../ports/records.js';
import type { FileTable, JobTable, SegmentTable, ShardTable } from './schema.js';
import { priorityOfRank } from './schema.js';
import { indexesFrom, type JoinedOrder } from './shard-order.js';

/** Rows to records and back. */

export function toMask(stored: Uint8Array | null): Mask {
  const mask = emptyMask();
  // A copy: a driver's buffer may be a view into a shared pool.
  if (stored !== null) mask.set(stored);
  return mask;
}

/** What lists of jobs filter by, one a line: a line feed never stands inside JSON text, so a match is exact. */
export function labelsOf(job: {
  models: readonly string[];
  metadata: Readonly<Record<string, string>>;
}): string {
  const labels = [
    ...job.models.map((model) => modelLabel(model)),
    ...Object.entries(job.metadata).map(([key, value]) => metadataLabel(key, value)),
  ];
  return `\n${labels.map((label) => label.trim()).join('\n')}\n`;
}

export const modelLabel = (model: string): string => `\n${JSON.stringify(['model', model])}\n`;

export const metadataLabel = (key: string, value: string): string =>
  `\n${JSON.stringify(['metadata', key, value])}\n`;

export function toFileRow(file: FileRecord): Insertable<FileTable> {
  return {
    id: file.id,
    project_id: file.projectId,
    purpose: file.purpose,
    filename: file.filename,
    bytes: file.bytes,
    sha256: file.sha256,
    blob_key: file.blobKey,
    summary: file.summary === null ? null : JSON.stringify(file.summary),
    internal: file.internal ? 1 : 0,
    created_at: file.createdAtMs,
    expires_at: file.expiresAtMs,
  };
}

export function toFileRecord(
  row: Omit<Selectable<FileTable>, 'summary'> & { summary?: string | null },
): FileRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    purpose: row.purpose,
    filename: row.filename,
    bytes: row.bytes,
    sha256: row.sha256,
    blobKey: row.blob_key,
    summary: row.summary ? JSON.parse(row.summary) : null,
    internal: row.internal === 1,
    createdAtMs: row.created_at,
    expiresAtMs: row.expires_at,
  };
}

export function toJobRow(job: JobRecord, ordinals: number | null): Insertable<JobTable> {
  return {
    id: job.id,
    project_id: job.projectId,
    state: job.state,
    dialect: job.dialect,
    input_file_id: job.inputFileId,
    input_blob_key: job.inputBlobKey,
    work_blob_key: job.workBlobKey ?? null,
    options: JSON.stringify(job.options),
    models: JSON.stringify(job.models),
    labels: labelsOf({ models: job.models, metadata: job.options.metadata ?? {} }),
    priority: job.priority,
    completion_window: job.completionWindow,
    total: job.total,
    succeeded: job.succeeded,
    failed: job.failed,
    reused_items: job.reused,
    cancelled: job.cancelled,
    expired: job.expired,
    input_tokens: job.usage.inputTokens,
    cached_input_tokens: job.usage.cachedInputTokens,
    output_tokens: job.usage.outputTokens,
    reasoning_tokens: job.usage.reasoningTokens,
    error_groups: JSON.stringify(job.errorGroups),
    input_errors: JSON.stringify(job.inputErrors),
    max_error_rate: job.options.max_error_rate ?? null,
    held_back: null,
    max_output_tokens: maxOutputTokens(job.options.defaults),
    paused_at: job.pausedAtMs,
    end_reason: job.endReason,
    excluded: 0,
    excluded_reason: null,
    output_file_id: job.outputFileId,
    error_file_id: job.errorFileId,
    version: job.version,
    ordinals,
    segment_sequence: 0,
    finalize_owner: null,
    finalize_until: null,
    ...toProblemColumns(job.problem),
    give_up_at: job.giveUpAtMs,
    ids_blob_key: job.idsBlobKey ?? null,
    created_at: job.createdAtMs,
    queued_at: job.queuedAtMs,
    started_at: job.startedAtMs,
    finalizing_at: job.finalizingAtMs,
    cancelling_at: job.cancellingAtMs,
    finished_at: job.finishedAtMs,
    expires_at: job.expiresAtMs,
  };
}

/** What each item of a job may have for output at most, where its defaults say so. */
function maxOutputTokens(defaults: JobRecord['options']['defaults']): number | null {
  const limit = defaults?.max_tokens ?? defaults?.max_completion_tokens;
  return typeof limit === 'number' && limit > 0 && limit <= Number.MAX_SAFE_INTEGER ? Math.ceil(limit) : null;
}

export function toJobRecord(row: Selectable<JobTable>): JobRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    state: row.state,
    dialect: row.dialect,
    inputFileId: row.input_file_id,
    inputBlobKey: row.input_blob_key,
    ...(row.work_blob_key === null ? {} : { workBlobKey: row.work_blob_key }),
    ...(row.ids_blob_key === null ? {} : { idsBlobKey: row.ids_blob_key }),
    // `defaults` go on to engines.
    options: parseExactJson(row.options) as JobRecord['options'],
    models: JSON.parse(row.models),
    priority: row.priority,
    completionWindow: row.completion_window,
    total: row.total,
    succeeded: row.succeeded,
    failed: row.failed,
    reused: row.reused_items,
    cancelled: row.cancelled,
    expired: row.expired,
    usage: toUsage(row),
    errorGroups: JSON.parse(row.error_groups),
    inputErrors: JSON.parse(row.input_errors),
    pausedAtMs: row.paused_at,
    endReason: row.end_reason,
    problem: toProblem(row),
    giveUpAtMs: row.give_up_at,
    outputFileId: row.output_file_id,
    errorFileId: row.error_file_id,
    version: row.version,
    createdAtMs: row.created_at,
    queuedAtMs: row.queued_at,
    startedAtMs: row.started_at,
    finalizingAtMs: row.finalizing_at,
    cancellingAtMs: row.cancelling_at,
    finishedAtMs: row.finished_at,
    expiresAtMs: row.expires_at,
  };
}

type ProblemColumns = Pick<
  Selectable<JobTable>,
  'problem_code' | 'problem_message' | 'problem_since' | 'problem_tries' | 'problem_own_tries'
>;

export const toProblemColumns = (problem: JobProblem | null): ProblemColumns => ({
  problem_code: problem?.code ?? null,
  problem_message: problem?.message ?? null,
  problem_since: problem?.sinceMs ?? null,
  problem_tries: problem?.tries ?? 0,
  problem_own_tries: problem?.ownTries ?? 0,
});

/** Columns of a job that nothing keeps from being planned or finalized. */
export const NO_PROBLEM = { ...toProblemColumns(null), give_up_at: null } as const;

export const toProblem = (row: ProblemColumns): JobProblem | null =>
  row.problem_code === null
    ? null
    : {
        code: row.problem_code,
        message: row.problem_message ?? '',
        sinceMs: row.problem_since ?? 0,
        tries: row.problem_tries,
        ownTries: row.problem_own_tries,
      };

function toUsage(row: {
  input_tokens: number;
  cached_input_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
}): JobRecord['usage'] {
  return {
    inputTokens: row.input_tokens,
    cachedInputTokens: row.cached_input_tokens,
    outputTokens: row.output_tokens,
    reasoningTokens: row.reasoning_tokens,
  };
}

export function toShardRecord(row: Selectable<ShardTable> & Partial<JoinedOrder>): ShardRecord {
  return {
    id: row.id,
    jobId: row.job_id,
    projectId: row.project_id,
    ordinal: row.ordinal,
    first: row.first_item,
    ...indexesFrom(row, row.first_item, row.items),
    count: row.items,
    offset: row.byte_offset,
    bytes: row.bytes,
    skip: row.skip_items,
    model: row.model,
    priority: priorityOfRank(row.priority_rank),
    state: row.state === 'poisoned' ? 'ready' : row.state,
    epoch: row.epoch,
    doneMask: toMask(row.done_mask),
    badMask: toMask(row.bad_mask),
    lostLeases: row.lost_leases,
    runnerId: row.runner_id,
    holderKeyId: row.holder_epoch === row.epoch ? row.holder_key_id : null,
    leaseUntilMs: row.lease_until,
    offeredAtMs: row.offered_at,
  };
}

export function toSegmentRecord(row: Selectable<SegmentTable> & Partial<JoinedOrder>): SegmentRecord {
  return {
    jobId: row.job_id,
    sequence: row.sequence,
    shardId: row.shard_id,
    ordinal: row.ordinal,
    blobKey: row.blob_key,
    bytes: row.bytes,
    first: row.first_item,
    ...indexesFrom(row, row.first_item),
    decided: toMask(row.decided),
    settledAtMs: row.settled_at,
  };
}
