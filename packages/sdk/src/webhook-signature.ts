import type { WebhookEvent as WireEvent } from '@batch-infer/contracts/webhooks';
import { BatchInferError } from './errors.js';
import type { JobStatus, WebhookEventType } from './types.js';

/** The end of a job, as a webhook tells of it. */
export interface WebhookEvent {
  /** The same in every attempt: what was seen before can be left out. */
  readonly id: string;
  readonly type: WebhookEventType;
  readonly createdAt: Date;
  readonly jobId: string;
  readonly status: JobStatus;
}

/** The headers of the request: an object with any spelling, or what `fetch` has. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

/** The request does not come from who has the secret, or is too old: refuse it with 400. */
export class WebhookVerificationError extends BatchInferError {
  override name = 'WebhookVerificationError';
}

const PREFIX = 'whsec_';
/** How old, or how far ahead, the time of an attempt may be. */
const TOLERANCE_SECONDS = 300;

const encoder = new TextEncoder();

/**
 * Checks the signature of a webhook (Standard Webhooks) and reads it.
 * @param body the body as it came, byte for byte: one that was parsed and written again has another signature
 * @throws WebhookVerificationError
 */
export async function unwrapWebhook(
  body: string,
  headers: WebhookHeaders,
  secret: string,
  nowMs: number,
): Promise<WebhookEvent> {
  const id = headerOf(headers, 'webhook-id');
  const timestamp = headerOf(headers, 'webhook-timestamp');
  const signatures = headerOf(headers, 'webhook-signature');
  if (Math.abs(nowMs / 1_000 - Number(timestamp)) > TOLERANCE_SECONDS || !/^\d+$/.test(timestamp)) {
    throw new WebhookVerificationError('The webhook is too old, or from the future: is the clock right?');
  }
  const key = await importKey(secret);
  const signed = encoder.encode(`${id}.${timestamp}.${body}`);
  for (const signature of signatures.split(' ')) {
    const bytes = fromBase64(/^v1,(.+)$/.exec(signature)?.[1] ?? '');
    if (bytes !== null && (await crypto.subtle.verify('HMAC', key, bytes, signed))) return toEvent(body);
  }
  throw new WebhookVerificationError('The signature of the webhook does not fit: is it the right secret?');
}

function headerOf(headers: WebhookHeaders, name: string): string {
  const value =
    headers instanceof Headers
      ? headers.get(name)
      : Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
  const text = typeof value === 'string' ? value : value?.[0];
  if (text === undefined || text === '') throw new WebhookVerificationError(`The header ${name} is missing.`);
  return text;
}

async function importKey(secret: string): Promise<CryptoKey> {
  const bytes = secret.startsWith(PREFIX) ? fromBase64(secret.slice(PREFIX.length)) : null;
  if (bytes === null || bytes.length === 0) throw new TypeError(`A webhook secret is "${PREFIX}" and base64`);
  return await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    return null;
  }
}

function toEvent(body: string): WebhookEvent {
  const wire = JSON.parse(body) as WireEvent;
  return {
    id: wire.id,
    type: wire.type,
    createdAt: new Date(wire.created_at * 1_000),
    jobId: wire.x_batch_infer.job_id,
    status: wire.x_batch_infer.status as JobStatus,
  };
}
