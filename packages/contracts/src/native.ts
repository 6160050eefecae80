import { z } from 'zod';
import { ENDPOINTS } from './endpoints.js';
import { ITEM_STATUSES, JOB_STATES, JOB_STATUSES, PRIORITIES } from './lifecycle.js';
import { LIMITS, parseDurationMs } from './limits.js';
import { jobWebhook, jobWebhookView } from './webhooks.js';

/** Wire formats of the native API (`/v1/jobs/**`). Keys are snake_case, times RFC 3339. */

/** Any JSON object, as it came: what its members may be is for engines to judge. */
export const jsonObject = z
  .custom<Record<string, unknown>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'must be a JSON object',
  )
  .meta({ type: 'object' });

export const completionWindow = z
  .string()
  .max(LIMITS.durationChars)
  .refine(
    (text) => {
      const durationMs = parseDurationMs(text);
      return (
        durationMs !== null &&
        durationMs >= LIMITS.completionWindowMinMs &&
        durationMs <= LIMITS.completionWindowMaxMs
      );
    },
    { error: 'must be a duration between "1m" and "30d", such as "24h"' },
  );

export const metadata = z
  .record(z.string().min(1).max(LIMITS.metadataKeyChars), z.string().max(LIMITS.metadataValueChars))
  .refine((pairs) => Object.keys(pairs).length <= LIMITS.metadataPairs, {
    error: `must have at most ${LIMITS.metadataPairs} pairs`,
  })
  .meta({ maxProperties: LIMITS.metadataPairs });

const encoder = new TextEncoder();

/** Whether a JSON value holds at most so many values, those inside of others included. */
function holdsAtMost(limit: number, value: unknown): boolean {
  const open: unknown[] = [value];
  let count = 0;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null) continue;
    const inner = Object.values(next);
    count += inner.length;
    if (count > limit) return false;
    for (const each of inner) open.push(each);
  }
  return true;
}

/** A job's `defaults`. */
export const jobDefaults = jsonObject
  .refine((members) => Object.keys(members).length <= LIMITS.defaultsKeys, {
    error: `must have at most ${LIMITS.defaultsKeys} keys`,
    abort: true,
  })
  .refine((members) => holdsAtMost(LIMITS.defaultsValues, members), {
    error: `must have at most ${LIMITS.defaultsValues} values`,
    abort: true,
  })
  .refine((members) => encoder.encode(JSON.stringify(members)).length <= LIMITS.defaultsBytes, {
    error: `must have at most ${LIMITS.defaultsBytes} bytes as JSON`,
  });

/** Among which requests identical ones may share an answer. */
export const REUSE_SCOPES = ['none', 'job', 'project'] as const;

/** Options of a job, the same for all four ways of handing work over. */
export const jobOptions = z.object({
  /** Default endpoint of lines without `url`. */
  endpoint: z.enum(ENDPOINTS).optional(),
  /** Default model of bodies without `model`. */
  model: z.string().min(1).max(LIMITS.modelChars).optional(),
  completion_window: completionWindow.optional(),
  priority: z.enum(PRIORITIES).optional(),
  item_timeout_ms: z.int().min(LIMITS.itemTimeoutMinMs).max(LIMITS.itemTimeoutMaxMs).optional(),
  max_attempts: z.int().min(1).max(LIMITS.maxAttemptsMax).optional(),
  /** Share of failed items, 0 to 1, beyond which the rest of the job is not run. */
  max_error_rate: z.number().min(0).max(1).optional(),
  /** Merged under each body: a body's own keys win. */
  defaults: jobDefaults.optional(),
  metadata: metadata.optional(),
  /** `auto`: items run in the order in which engines get through them fastest; `input`: as they stand in the input. */
  plan_order: z.enum(['auto', 'input']).optional(),
  /**
   * `job`: identical requests whose answer is determined (temperature 0, a seed, embeddings) may be run once. `project`:
   * also, answers of earlier jobs of the project that said so are taken over.
   */
  reuse: z.enum(REUSE_SCOPES).optional(),
  /** With `reuse: "project"`: how old an answer may be, in seconds; without it, a day. */
  reuse_max_age_seconds: z
    .int()
    .min(LIMITS.reuseMaxAgeMinSeconds)
    .max(LIMITS.reuseMaxAgeMaxSeconds)
    .optional(),
  /** Who is told of its end. */
  webhook: jobWebhook.optional(),
  /** How long the output and error files are kept behind their creation, in seconds; without it, until deleted. */
  output_expires_after_seconds: z
    .int()
    .min(LIMITS.fileExpiryMinSeconds)
    .max(LIMITS.fileExpiryMaxSeconds)
    .optional(),
});
export type JobOptions = z.infer<typeof jobOptions>;

export const inlineItem = z.strictObject({
  custom_id: z.string().min(1).max(LIMITS.customIdChars).optional(),
  method: z.literal('POST').optional(),
  url: z.enum(ENDPOINTS).optional(),
  body: jsonObject,
});

export const createJobRequest = jobOptions
  .extend({
    input: jsonObject.optional(),
    items: z.array(inlineItem).min(1).max(LIMITS.inlineItems).optional(),
    file_id: z.string().max(LIMITS.idChars).optional(),
    dry_run: z.boolean().optional(),
  })
  .strict()
  .refine(
    (body) => [body.input, body.items, body.file_id].filter((part) => part !== undefined).length === 1,
    {
      error: 'exactly one of input, items and file_id must be given',
    },
  );
export type CreateJobRequest = z.infer<typeof createJobRequest>;

export const retryJobRequest = z.strictObject({
  status: z
    .array(z.enum(['failed', 'expired', 'cancelled']))
    .min(1)
    .max(3)
    .optional(),
});

export const jobCounts = z.object({
  total: z.int(),
  queued: z.int(),
  running: z.int(),
  succeeded: z.int(),
  failed: z.int(),
  cancelled: z.int(),
  expired: z.int(),
});
export type JobCounts = z.infer<typeof jobCounts>;

/** Codes may be added: a reader shows the message of one that it does not know. */
export const WAITING_CODES = [
  'planning',
  'plan_failed',
  'paused',
  'no_runner_for_model',
  'runners_busy',
  'waiting_for_turn',
  'budget',
  'transport_down',
  'engine_unavailable',
  'stalled',
  'stopping',
  'finalizing',
  'finalize_failed',
] as const;

export const waitingReason = z.object({
  code: z.enum(WAITING_CODES),
  message: z.string(),
  /**
   * Since when, where it is known; else since when the job has not moved, which may be earlier or later. Absent from older
   * servers.
   */
  since: z.iso.datetime().optional(),
});
/** What batches of the other dialects say beyond upstream: why they wait, while they do. */
export const batchExtension = z.object({ waiting_for: z.array(waitingReason) });
export type BatchExtension = z.infer<typeof batchExtension>;
export type WaitingReason = z.infer<typeof waitingReason>;

export const usage = z.object({
  input_tokens: z.int(),
  cached_input_tokens: z.int(),
  output_tokens: z.int(),
});

export const inputError = z.object({
  line: z.int().nullable(),
  param: z.string().nullable(),
  code: z.string(),
  message: z.string(),
});

export const job = z.object({
  id: z.string(),
  object: z.literal('job'),
  status: z.enum(JOB_STATUSES),
  phase: z.enum(JOB_STATES),
  /** Held back by `pause`: nothing of it starts until `resume`. Its completion window goes on. */
  paused: z.boolean(),
  endpoint: z.string().nullable(),
  models: z.array(z.string()),
  priority: z.enum(PRIORITIES),
  counts: jobCounts,
  /** Of the succeeded items, those that took over the answer of an earlier job (`reuse: "project"`). */
  reused_items: z.int(),
  progress: z.object({
    items_per_second: z.number(),
    output_tokens_per_second: z.number(),
    eta_seconds: z.number().nullable(),
  }),
  queue: z.object({ position: z.int().nullable(), waiting_for: z.array(waitingReason) }),
  usage,
  /** Failures by code and message, without a download. */
  errors: z.array(
    z.object({
      code: z.string(),
      message: z.string(),
      count: z.int(),
      sample: z.object({ index: z.int(), custom_id: z.string() }),
    }),
  ),
  /** Bad lines of a refused input, at most 100, in order. */
  input_errors: z.array(inputError),
  input_file_id: z.string().nullable(),
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: z.string(),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  expires_at: z.string(),
  completion_window: z.string(),
  metadata: z.record(z.string(), z.string()),
  /** Who is told of its end beside the project's endpoints. */
  webhook: jobWebhookView.nullable(),
  links: z.object({ self: z.string(), results: z.string(), errors: z.string(), cancel: z.string() }),
});
export type Job = z.infer<typeof job>;

export const jobList = z.object({
  object: z.literal('list'),
  data: z.array(job),
  has_more: z.boolean(),
  next_cursor: z.string().nullable(),
});
export type JobList = z.infer<typeof jobList>;

export const itemError = z.object({
  code: z.string(),
  type: z.string(),
  message: z.string(),
  retryable: z.boolean(),
});

/** What `dry_run` answers: what the job would be. Nothing is stored. */
export const jobPlan = z.object({
  object: z.literal('job_plan'),
  items: z.int(),
  /** Items by model. */
  models: z.record(z.string(), z.int()),
  shards: z.int(),
  input_bytes: z.int(),
});
export type JobPlan = z.infer<typeof jobPlan>;

/** One line of `GET /v1/jobs/{id}/results`. */
export const resultLine = z.object({
  index: z.int(),
  custom_id: z.string(),
  status: z.enum(ITEM_STATUSES),
  /** The engine's body; present when `status` is `succeeded`. */
  response: z.unknown().optional(),
  usage: usage.optional(),
  /** Present when `status` is not `succeeded`. */
  error: itemError.optional(),
  /** The engine's own error body in OpenAI's form; present when it refused the request with one. */
  error_body: z.unknown().optional(),
  /** HTTP status of the engine's answer; absent when there was none. */
  status_code: z.int().optional(),
  /** Request id that the engine was given; absent for an item that was never run. */
  request_id: z.string().optional(),
  /** 0 for an item that took over an answer, and for one that was never run. */
  attempts: z.int(),
  latency_ms: z.number().optional(),
  /** The job that ran the request, where an earlier job's answer was taken over. */
  reused_from: z.string().optional(),
  /** Present with `order=completion`: pass it as `after` to go on behind this line. */
  cursor: z.string().optional(),
});
export type ResultLine = z.infer<typeof resultLine>;

/** Every error answer: `application/problem+json` with OpenAI's `error` object beside it. */
export const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  param: z.string().nullable(),
  request_id: z.string(),
  errors: z.array(inputError),
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});
export type Problem = z.infer<typeof problem>;

/** Response headers of results read while the job still runs. */
export const INCOMPLETE_HEADER = 'x-incomplete';
export const LAST_LINE_HEADER = 'x-last-line';
export const IDEMPOTENT_REPLAYED_HEADER = 'idempotent-replayed';
