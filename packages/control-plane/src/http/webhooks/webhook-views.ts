import type {
  WebhookDeliveryView,
  WebhookEndpointView,
  WebhookEndpointWithSecret,
} from '@batch-infer/contracts/webhooks';
import type { WebhookDeliveryRecord, WebhookEndpointRecord } from '../../ports/webhooks.js';

const seconds = (atMs: number): number => Math.floor(atMs / 1_000);
const secondsOrNull = (atMs: number | null): number | null => (atMs === null ? null : seconds(atMs));

const HINT_CHARS = 12;

/** Never with the secret. */
export const toEndpointView = (endpoint: WebhookEndpointRecord): WebhookEndpointView => ({
  id: endpoint.id,
  object: 'webhook_endpoint',
  name: endpoint.name,
  url: endpoint.url,
  event_types: [...endpoint.eventTypes],
  signing_secret_hint: `${endpoint.secret.slice(0, HINT_CHARS)}…`,
  created_at: seconds(endpoint.createdAtMs),
  updated_at: seconds(endpoint.updatedAtMs),
  x_batch_infer: { disabled_at: secondsOrNull(endpoint.disabledAtMs) },
});

export const toEndpointWithSecret = (endpoint: WebhookEndpointRecord): WebhookEndpointWithSecret => ({
  ...toEndpointView(endpoint),
  signing_secret: endpoint.secret,
});

export const toDeliveryView = (delivery: WebhookDeliveryRecord): WebhookDeliveryView => ({
  id: delivery.id,
  object: 'webhook_delivery',
  event_id: delivery.eventId,
  event_type: delivery.eventType,
  job_id: delivery.jobId,
  webhook_endpoint_id: delivery.endpointId,
  url: delivery.url,
  status: delivery.state,
  attempts: delivery.attempts,
  last_status_code: delivery.lastStatus,
  last_error: delivery.lastError,
  next_attempt_at: secondsOrNull(delivery.nextAttemptAtMs),
  created_at: seconds(delivery.createdAtMs),
  delivered_at: secondsOrNull(delivery.deliveredAtMs),
});
