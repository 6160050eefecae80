import { createHmac, randomBytes } from 'node:crypto';
import { WEBHOOK_SECRET_PREFIX } from '@batch-infer/contracts/webhooks';

/** Signatures of the Standard Webhooks specification. */

const SECRET_BYTES = 32;

export const newWebhookSecret = (): string =>
  `${WEBHOOK_SECRET_PREFIX}${randomBytes(SECRET_BYTES).toString('base64')}`;

/**
 * The headers of one attempt. During a rotation every secret signs; a receiver takes the signature that it can verify.
 * The time is that of the attempt: receivers refuse old ones.
 */
export function signedHeaders(params: {
  /** The same in every attempt. */
  id: string;
  body: string;
  secrets: readonly string[];
  nowMs: number;
}): Record<string, string> {
  const { id, body, secrets, nowMs } = params;
  const timestamp = String(Math.floor(nowMs / 1_000));
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(WEBHOOK_SECRET_PREFIX.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  };
}
