import { z } from 'zod';
import { LIMITS } from './limits.js';
import { batchExtension } from './native.js';

/** Anthropic's message batches, as the official SDKs read them. Extensions stand under `x_batch_infer` only. */

/** What a request's `custom_id` must look like. */
export const MESSAGE_CUSTOM_ID = /^[a-zA-Z0-9_-]{1,64}$/;

export const PROCESSING_STATUSES = ['in_progress', 'canceling', 'ended'] as const;

export const messageBatch = z.object({
  id: z.string(),
  type: z.literal('message_batch'),
  processing_status: z.enum(PROCESSING_STATUSES),
  /** Always sums to the number of requests. */
  request_counts: z.object({
    processing: z.int(),
    succeeded: z.int(),
    errored: z.int(),
    canceled: z.int(),
    expired: z.int(),
  }),
  /** Times are RFC 3339. */
  ended_at: z.string().nullable(),
  created_at: z.string(),
  expires_at: z.string(),
  archived_at: z.string().nullable(),
  cancel_initiated_at: z.string().nullable(),
  /** Absolute; `null` until it has ended. */
  results_url: z.string().nullable(),
  x_batch_infer: batchExtension.optional(),
});
export type MessageBatch = z.infer<typeof messageBatch>;

/** Only what the official API names is accepted; `params` are the body of `/v1/messages`. */
export const createMessageBatchRequest = z.strictObject({
  requests: z
    .array(
      z.strictObject({
        custom_id: z.string().max(64).regex(MESSAGE_CUSTOM_ID),
        params: z.looseObject({
          model: z.string().max(LIMITS.modelChars),
          max_tokens: z.int().min(1),
          messages: z.array(z.unknown()).min(1).max(LIMITS.jsonValues),
        }),
      }),
    )
    .min(1)
    .max(LIMITS.messageBatchItems),
});

export const messageBatchList = z.object({
  data: z.array(messageBatch),
  has_more: z.boolean(),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
});
export type MessageBatchList = z.infer<typeof messageBatchList>;

export const deletedMessageBatch = z.object({ id: z.string(), type: z.literal('message_batch_deleted') });
export type DeletedMessageBatch = z.infer<typeof deletedMessageBatch>;

export const ANTHROPIC_ERROR_TYPES = [
  'invalid_request_error',
  'authentication_error',
  'permission_error',
  'not_found_error',
  'request_too_large',
  'rate_limit_error',
  'timeout_error',
  'api_error',
  'overloaded_error',
] as const;
export type AnthropicErrorType = (typeof ANTHROPIC_ERROR_TYPES)[number];

/** Every error answer under `/v1/messages`. */
export const anthropicError = z.object({
  type: z.literal('error'),
  error: z.object({ type: z.enum(ANTHROPIC_ERROR_TYPES), message: z.string() }),
  request_id: z.string(),
  x_batch_infer: z
    .object({
      code: z.string(),
      param: z.string().nullable(),
      errors: z.array(z.object({ param: z.string().nullable(), code: z.string(), message: z.string() })),
    })
    .optional(),
});
export type AnthropicError = z.infer<typeof anthropicError>;

/** One line of `GET /v1/messages/batches/{id}/results`. */
export const messageBatchResultLine = z.object({
  custom_id: z.string(),
  result: z.discriminatedUnion('type', [
    z.object({ type: z.literal('succeeded'), message: z.unknown() }),
    z.object({ type: z.literal('errored'), error: anthropicError }),
    z.object({ type: z.literal('canceled') }),
    z.object({ type: z.literal('expired') }),
  ]),
});

/** A model as Anthropic's SDKs read it. */
export const anthropicModel = z.object({
  id: z.string(),
  type: z.literal('model'),
  display_name: z.string(),
  created_at: z.string(),
  lifecycle: z.literal('active'),
  // What upstream knows of its models and we do not of others'.
  capabilities: z.null(),
  deprecated_at: z.null(),
  line: z.null(),
  max_input_tokens: z.null(),
  max_tokens: z.null(),
  retires_at: z.null(),
});
export type AnthropicModel = z.infer<typeof anthropicModel>;
