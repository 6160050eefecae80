import type { EndReason, JobState, Priority } from '@batch-infer/contracts';
import { PRIORITIES } from '@batch-infer/contracts';
import type { WebhookDeliveryState, WebhookEventType } from '@batch-infer/contracts/webhooks';
import type { Generated, Selectable } from 'kysely';
import type { JobProblem, JobRecord, ShardState } from '../ports/records.js';
import type { UploadState } from '../ports/uploads.js';

/**
 * The tables as Kysely sees them. Portable between SQLite and PostgreSQL: ids and JSON are text, times are epoch
 * milliseconds in `bigint`, flags are 0 or 1, masks are 32-byte blobs (`null`: empty) merged in code.
 */
export interface Schema {
  project: ProjectTable;
  api_key: ApiKeyTable;
  file: FileTable;
  job: JobTable;
  shard: ShardTable;
  shard_order: ShardOrderTable;
  segment: SegmentTable;
  idempotency: IdempotencyTable;
  runner: RunnerTable;
  meta: MetaTable;
  upload: UploadTable;
  upload_part: UploadPartTable;
  webhook_endpoint: WebhookEndpointTable;
  webhook_secret: WebhookSecretTable;
  project_limits: ProjectLimitsTable;
  request_budget: RequestBudgetTable;
  lane: LaneTable;
  webhook_delivery: WebhookDeliveryTable;
  reuse_index: ReuseIndexTable;
  temporary_blob: TemporaryBlobTable;
}

export interface ProjectTable {
  id: string;
  name: string;
  weight: Generated<number>;
  max_running_items: number | null;
  created_at: number;
}

export interface ApiKeyTable {
  id: string;
  project_id: string;
  name: string;
  /** SHA-256 (hex) of the secret part; the secret itself is stored nowhere. */
  hash: string;
  /** JSON array. */
  scopes: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
  rotated_to: string | null;
}

export interface FileTable {
  id: string;
  project_id: string;
  purpose: string;
  filename: string;
  bytes: number;
  sha256: string | null;
  blob_key: string;
  /** JSON of a `ScanSummary`: up to some hundred kB, so lists leave it out. */
  summary: string | null;
  internal: number;
  created_at: number;
  expires_at: number | null;
}

/** A job as it is read. */
export type JobRow = Selectable<JobTable>;

export interface JobTable {
  id: string;
  project_id: string;
  state: JobState;
  dialect: JobRecord['dialect'];
  input_file_id: string;
  input_blob_key: string;
  /** `null` while plan order is input order. */
  work_blob_key: string | null;
  options: string;
  models: string;
  /** What lists filter by: one JSON array a line, a line feed around each (`labelsOf`). */
  labels: string;
  priority: Priority;
  completion_window: string;
  total: number;
  succeeded: number;
  failed: number;
  /** Of the succeeded ones, those that took over an earlier job's answer. */
  reused_items: number;
  cancelled: number;
  expired: number;
  input_tokens: number;
  cached_input_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  error_groups: string;
  input_errors: string;
  /** `options.max_error_rate`, so that a settle need not parse the options. */
  max_error_rate: number | null;
  /** The budget of its project for which it waits, as of the last look for offers; of no meaning once it has ended. */
  held_back: string | null;
  /** `max_tokens` of its defaults, so that dispatch need not parse the options. */
  max_output_tokens: number | null;
  /** Since when it is held back by `pause`. */
  paused_at: number | null;
  end_reason: EndReason | null;
  /** Never-run items that a retry left out, and why they had not been run. */
  excluded: number;
  excluded_reason: EndReason | null;
  output_file_id: string | null;
  error_file_id: string | null;
  version: number;
  /** Original shards; `null` until the job is planned. */
  ordinals: number | null;
  /** Sequence of the newest segment. */
  segment_sequence: number;
  /** Who plans or finalizes it, until when. Without an owner: when that is to be tried again. */
  finalize_owner: string | null;
  finalize_until: number | null;
  /** What keeps it from being planned or finalized. */
  problem_code: JobProblem['code'] | null;
  problem_message: string | null;
  problem_since: number | null;
  problem_tries: Generated<number>;
  /** Those of the tries for which the job itself is to blame. */
  problem_own_tries: Generated<number>;
  /** When somebody cancelled it while its finalization failed. */
  give_up_at: number | null;
  /** The object with the ids of its items that were never run. */
  ids_blob_key: string | null;
  created_at: number;
  queued_at: number | null;
  started_at: number | null;
  finalizing_at: number | null;
  cancelling_at: number | null;
  finished_at: number | null;
  expires_at: number;
}

/**
 * `poisoned` is a `ready` shard of one item that lost too many leases: it is never offered, only claimed by whoever
 * fails it. Records show it as `ready`.
 */
export type StoredShardState = ShardState | 'poisoned';

/** States of shards that nobody holds and somebody may still claim. */
export const CLAIMABLE: readonly StoredShardState[] = ['ready', 'poisoned'];

export interface ShardTable {
  id: string;
  job_id: string;
  project_id: string;
  ordinal: number;
  first_item: number;
  items: number;
  byte_offset: number;
  bytes: number;
  skip_items: number;
  model: string;
  /** Position in `PRIORITIES`: 0 goes first. */
  priority_rank: number;
  job_created_at: number;
  state: StoredShardState;
  epoch: number;
  done_mask: Uint8Array | null;
  bad_mask: Uint8Array | null;
  /** Bits of `done_mask`, for sums in SQL. */
  done_items: number;
  lost_leases: number;
  runner_id: string | null;
  /** API key with which it was claimed at `holder_epoch`; of no meaning at another epoch. */
  holder_key_id: string | null;
  holder_epoch: number | null;
  lease_until: number | null;
  /** When it was claimed; of no meaning while it is not leased. */
  leased_at: number | null;
  offered_at: number | null;
}

/** Order of a planned job's original shard; jobs in input order have none. */
export interface ShardOrderTable {
  job_id: string;
  ordinal: number;
  /** Position in the work file of the first of them. */
  first_item: number;
  /** Input indexes of the shard's items, 32-bit little-endian. */
  indexes: Uint8Array;
}

export interface SegmentTable {
  job_id: string;
  sequence: number;
  shard_id: string;
  ordinal: number;
  blob_key: string;
  bytes: number;
  first_item: number;
  decided: Uint8Array | null;
  /** Items it decided when it was settled, and their tokens: the rate of a running job. */
  items: number;
  input_tokens: number;
  cached_input_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  settled_at: number;
}

export interface IdempotencyTable {
  id: string;
  project_id: string;
  route: string;
  /** The client's header; `null` for creates that only their content names. */
  idempotency_key: string | null;
  fingerprint: string;
  record_id: string;
  created_at: number;
}

export interface RunnerTable {
  id: string;
  report: string;
  last_seen_at: number;
  /** Its API key; `null`: the server has none. */
  key_id: string | null;
  /** The one project that it serves; `null`: all. */
  project_id: string | null;
}

export interface UploadTable {
  id: string;
  project_id: string;
  state: UploadState;
  filename: string;
  purpose: string;
  mime_type: string;
  bytes: number;
  file_expires_after: number | null;
  file_id: string | null;
  created_at: number;
  expires_at: number;
}

export interface UploadPartTable {
  id: string;
  upload_id: string;
  bytes: number;
  blob_key: string;
  created_at: number;
}

export interface WebhookEndpointTable {
  id: string;
  project_id: string;
  name: string;
  url: string;
  /** JSON array. */
  event_types: string;
  secret: string;
  old_secret: string | null;
  old_secret_until: number | null;
  disabled_at: number | null;
  created_at: number;
  updated_at: number;
}

/** What signs the webhooks of jobs that bring no secret. */
export interface WebhookSecretTable {
  project_id: string;
  secret: string;
}

export interface WebhookDeliveryTable {
  id: string;
  event_id: string;
  event_type: WebhookEventType;
  project_id: string;
  job_id: string;
  /** `null`: the job's own webhook. */
  endpoint_id: string | null;
  url: string;
  /** That the job brought with its webhook. */
  secret: string | null;
  payload: string;
  state: WebhookDeliveryState;
  attempts: number;
  next_attempt_at: number | null;
  claimed_until: number | null;
  last_status: number | null;
  last_error: string | null;
  created_at: number;
  delivered_at: number | null;
}

/** When a project's bucket of requests is full again, in epoch microseconds. */
export interface RequestBudgetTable {
  project_id: string;
  full_at_us: number;
}

/** `null`: no limit. */
export interface ProjectLimitsTable {
  project_id: string;
  requests_per_minute: number | null;
  max_running_jobs: number | null;
  max_queued_tokens: number | null;
}

/** What the requests of a job are known by: see `ports/reuse.ts`. One of `keys` and `blob_key` is `null`. */
export interface ReuseIndexTable {
  job_id: string;
  project_id: string;
  items: number;
  keys: Uint8Array | null;
  blob_key: string | null;
}

/** Objects that belong to no row, but are in use until `kept_until`. */
export interface TemporaryBlobTable {
  blob_key: string;
  kept_until: number;
}

/** A lane that offers were published to: when last, and what was wrong with it then. */
export interface LaneTable {
  /** `<priority>/<model>`. */
  name: string;
  model: string;
  used_at: number;
  problem: string | null;
  problem_since: number | null;
}

/** Small facts about the ledger itself. */
export interface MetaTable {
  name: string;
  value: number;
}

export const priorityRank = (priority: Priority): number => PRIORITIES.indexOf(priority);

export const priorityOfRank = (rank: number): Priority => PRIORITIES[rank] ?? 'low';
