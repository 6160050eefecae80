import { z } from 'zod';
import { LIMITS } from './limits.js';
import { batchExtension, metadata } from './native.js';

/** OpenAI's files and batches, as the official SDKs read them. Extensions stand under `x_batch_infer` only. */

export const fileObject = z.object({
  id: z.string(),
  object: z.literal('file'),
  purpose: z.string(),
  filename: z.string(),
  bytes: z.int(),
  /** Unix seconds. */
  created_at: z.int(),
  expires_at: z.int().nullable(),
  status: z.enum(['processed', 'error', 'uploaded']),
  status_details: z.string().nullable(),
});
export type FileObject = z.infer<typeof fileObject>;

export const UPLOAD_STATUSES = ['pending', 'completed', 'cancelled', 'expired'] as const;

export const uploadObject = z.object({
  id: z.string(),
  object: z.literal('upload'),
  bytes: z.int(),
  created_at: z.int(),
  expires_at: z.int(),
  filename: z.string(),
  purpose: z.string(),
  status: z.enum(UPLOAD_STATUSES),
  /** What came of it. */
  file: fileObject.nullable(),
});
export type UploadObject = z.infer<typeof uploadObject>;

export const uploadPartObject = z.object({
  id: z.string(),
  object: z.literal('upload.part'),
  created_at: z.int(),
  upload_id: z.string(),
});
export type UploadPartObject = z.infer<typeof uploadPartObject>;

/** What OpenAI lets files be for. Only `batch` files have their lines judged. */
export const FILE_PURPOSES = ['batch', 'assistants', 'fine-tune', 'vision', 'user_data', 'evals'] as const;

export const createUploadRequest = z.strictObject({
  bytes: z.int().min(1).max(LIMITS.fileBytes),
  filename: z.string().min(1).max(LIMITS.filenameBytes),
  mime_type: z.string().min(1).max(LIMITS.mimeTypeChars),
  purpose: z.enum(FILE_PURPOSES),
  expires_after: z
    .strictObject({
      anchor: z.literal('created_at'),
      seconds: z.int().min(LIMITS.fileExpiryMinSeconds).max(LIMITS.fileExpiryMaxSeconds),
    })
    .nullable()
    .optional(),
});

export const completeUploadRequest = z.strictObject({
  part_ids: z.array(z.string().max(LIMITS.idChars)).min(1).max(LIMITS.uploadParts),
  /** Of the whole file, in hex. */
  md5: z
    .string()
    .max(32)
    .regex(/^[0-9a-fA-F]{32}$/)
    .nullable()
    .optional(),
});

export const BATCH_STATUSES = [
  'validating',
  'failed',
  'in_progress',
  'finalizing',
  'completed',
  'expired',
  'cancelling',
  'cancelled',
] as const;

export const batch = z.object({
  id: z.string(),
  object: z.literal('batch'),
  endpoint: z.string(),
  model: z.string().nullable(),
  errors: z
    .object({
      object: z.literal('list'),
      data: z.array(
        z.object({
          code: z.string(),
          message: z.string(),
          param: z.string().nullable(),
          line: z.int().nullable(),
        }),
      ),
    })
    .nullable(),
  input_file_id: z.string(),
  completion_window: z.string(),
  status: z.enum(BATCH_STATUSES),
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: z.int(),
  in_progress_at: z.int().nullable(),
  expires_at: z.int().nullable(),
  finalizing_at: z.int().nullable(),
  completed_at: z.int().nullable(),
  failed_at: z.int().nullable(),
  expired_at: z.int().nullable(),
  cancelling_at: z.int().nullable(),
  cancelled_at: z.int().nullable(),
  /** `completed` counts successes only. */
  request_counts: z.object({ total: z.int(), completed: z.int(), failed: z.int() }),
  usage: z.object({
    input_tokens: z.int(),
    input_tokens_details: z.object({ cached_tokens: z.int() }),
    output_tokens: z.int(),
    output_tokens_details: z.object({ reasoning_tokens: z.int() }),
    total_tokens: z.int(),
  }),
  metadata: z.record(z.string(), z.string()).nullable(),
  x_batch_infer: batchExtension.optional(),
});
export type Batch = z.infer<typeof batch>;

export const createBatchRequest = z.strictObject({
  input_file_id: z.string().max(LIMITS.idChars),
  endpoint: z.string().max(LIMITS.idChars),
  completion_window: z.string().max(LIMITS.durationChars),
  metadata: metadata.nullable().optional(),
  output_expires_after: z
    .strictObject({ anchor: z.literal('created_at'), seconds: z.int() })
    .nullable()
    .optional(),
});
export type CreateBatchRequest = z.infer<typeof createBatchRequest>;

/**
 * A response made in the background: until it has ended what was asked for, then the engine's own body under our id.
 * Every key that SDKs expect is there, `null` when unset.
 */
export const responseObject = z.looseObject({
  id: z.string(),
  object: z.literal('response'),
  /** Unix seconds. */
  created_at: z.int(),
  status: z.enum(['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled']),
  background: z.literal(true),
  completed_at: z.int().nullable(),
  error: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.looseObject({ reason: z.string().optional() }).nullable(),
  model: z.string(),
  output: z.array(z.looseObject({ type: z.string() })),
  usage: z
    .looseObject({
      input_tokens: z.int(),
      input_tokens_details: z.looseObject({ cached_tokens: z.int(), cache_write_tokens: z.int() }),
      output_tokens: z.int(),
      output_tokens_details: z.looseObject({ reasoning_tokens: z.int() }),
      total_tokens: z.int(),
    })
    .nullable(),
});

export const deletedResponse = z.object({
  id: z.string(),
  object: z.literal('response'),
  deleted: z.literal(true),
});
export type DeletedResponse = z.infer<typeof deletedResponse>;

/** One line of a batch output or error file. */
export interface BatchResultLine {
  readonly id: string;
  readonly custom_id: string;
  readonly response: {
    readonly status_code: number;
    readonly request_id: string;
    readonly body: unknown;
  } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}
