import { z } from 'zod';
import { LIMITS } from './limits.js';

/**
 * Webhooks by the Standard Webhooks specification, with payloads and endpoints in OpenAI's words: official SDKs verify
 * the one and administer the other.
 */

export const WEBHOOK_EVENT_TYPES = [
  'batch.completed',
  'batch.failed',
  'batch.expired',
  'batch.cancelled',
] as const;
export const webhookEventType = z.enum(WEBHOOK_EVENT_TYPES);
export type WebhookEventType = z.infer<typeof webhookEventType>;

export const WEBHOOK_SECRET_PREFIX = 'whsec_';

/** `http://` or `https://`, without a user in it: who may be reached is judged when it is called. */
export const webhookUrl = z
  .string()
  .max(LIMITS.webhookUrlChars)
  .refine(isWebhookUrl, 'must be an http:// or https:// URL without user and password');

function isWebhookUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
}

export const webhookSecret = z
  .string()
  .max(LIMITS.webhookSecretChars)
  .regex(/^whsec_[A-Za-z0-9+/]{32,}={0,2}$/, 'must be "whsec_" and at least 24 bytes in base64');

/** Option `webhook` of a job. */
export const jobWebhook = z.strictObject({
  url: webhookUrl,
  /** Without it all. */
  events: z.array(webhookEventType).min(1).max(WEBHOOK_EVENT_TYPES.length).optional(),
  /** Without it, the project's own: `GET /v1/webhook_secret`. */
  secret: webhookSecret.optional(),
});
export type JobWebhook = z.infer<typeof jobWebhook>;

/** A job's webhook as the job shows it: never with its secret. */
export const jobWebhookView = z.object({ url: z.string(), events: z.array(webhookEventType) });
export type JobWebhookView = z.infer<typeof jobWebhookView>;

const name = z.string().min(1).max(LIMITS.accessNameChars);
const eventTypes = z.array(webhookEventType).min(1).max(WEBHOOK_EVENT_TYPES.length);

/** `POST /v1/webhook_endpoints`. */
export const createWebhookEndpointRequest = z.strictObject({
  url: webhookUrl,
  /** Without it all. */
  event_types: eventTypes.optional(),
  name: name.optional(),
});

/** `POST /v1/webhook_endpoints/{id}`. A disabled endpoint is enabled again by any change. */
export const updateWebhookEndpointRequest = z.strictObject({
  url: webhookUrl.optional(),
  event_types: eventTypes.optional(),
  name: name.optional(),
});

/** `POST /v1/webhook_endpoints/{id}/rotate_secret`. */
export const rotateWebhookSecretRequest = z.strictObject({
  /** Both secrets sign for a day. */
  keep_old_secret_active_for_24_hours: z.boolean().optional(),
});

/** `POST /v1/webhook_endpoints/{id}/test`. */
export const testWebhookEndpointRequest = z.strictObject({ event_type: webhookEventType.optional() });

/** As OpenAI's SDKs read it; times in Unix seconds. */
export const webhookEndpointView = z.object({
  id: z.string(),
  object: z.literal('webhook_endpoint'),
  name: z.string(),
  url: z.string(),
  event_types: z.array(z.string()),
  /** The first letters of the secret. */
  signing_secret_hint: z.string(),
  created_at: z.int(),
  updated_at: z.int(),
  x_batch_infer: z.object({
    /** Nothing is sent to a disabled endpoint: it answered 410. */
    disabled_at: z.int().nullable(),
  }),
});
export type WebhookEndpointView = z.infer<typeof webhookEndpointView>;

/** The answer to a create or a rotation: the only time that the secret itself is shown. */
export const webhookEndpointWithSecret = webhookEndpointView.extend({ signing_secret: z.string() });
export type WebhookEndpointWithSecret = z.infer<typeof webhookEndpointWithSecret>;

export const webhookTestResult = z.object({
  object: z.literal('webhook_endpoint.test'),
  event_type: z.string(),
  webhook_endpoint_id: z.string(),
  /** True when the endpoint answered 2xx. */
  success: z.boolean(),
  /** 0 when it did not answer. */
  status_code: z.int(),
  x_batch_infer: z.object({ error: z.string().nullable() }),
});
export type WebhookTestResult = z.infer<typeof webhookTestResult>;

/** `GET /v1/webhook_secret`: signs the webhooks of jobs that bring no secret. */
export const webhookSecretView = z.object({
  object: z.literal('webhook_secret'),
  signing_secret: z.string(),
});
export type WebhookSecretView = z.infer<typeof webhookSecretView>;

export const WEBHOOK_DELIVERY_STATES = ['pending', 'delivered', 'failed'] as const;
export type WebhookDeliveryState = (typeof WEBHOOK_DELIVERY_STATES)[number];

/** One line of the delivery log; times in Unix seconds. */
export const webhookDeliveryView = z.object({
  id: z.string(),
  object: z.literal('webhook_delivery'),
  /** `webhook-id` and `id` of the payload: the same in every attempt. */
  event_id: z.string(),
  event_type: z.string(),
  job_id: z.string(),
  /** `null`: the job's own webhook. */
  webhook_endpoint_id: z.string().nullable(),
  url: z.string(),
  status: z.enum(WEBHOOK_DELIVERY_STATES),
  attempts: z.int(),
  /** Of the last attempt; 0 when nothing answered. */
  last_status_code: z.int().nullable(),
  last_error: z.string().nullable(),
  next_attempt_at: z.int().nullable(),
  created_at: z.int(),
  delivered_at: z.int().nullable(),
});
export type WebhookDeliveryView = z.infer<typeof webhookDeliveryView>;

/** What a webhook says. Fetch the job for more. */
export const webhookEvent = z.object({
  id: z.string(),
  object: z.literal('event'),
  type: webhookEventType,
  created_at: z.int(),
  /** The job's id in the dialect it was made in: `batch_…`, `job_…`, `msgbatch_…`. */
  data: z.object({ id: z.string() }),
  x_batch_infer: z.object({ job_id: z.string(), status: z.string() }),
});
export type WebhookEvent = z.infer<typeof webhookEvent>;
