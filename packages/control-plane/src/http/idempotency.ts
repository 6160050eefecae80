import { LIMITS } from '@batch-infer/contracts';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';
import type { CreateAttempt } from '../ingest/fingerprint.js';
import { headerOf } from './request-context.js';

/**
 * Reads `Idempotency-Key` (quoted or bare, 1 to 255 visible characters) and the retry count that official SDKs send.
 * @throws DomainError `invalid_idempotency_key`
 */
export function idempotencyOf(request: FastifyRequest, projectId: string, route: string): CreateAttempt {
  const header = headerOf(request, 'idempotency-key');
  const retryCount = Number(headerOf(request, 'x-stainless-retry-count') ?? 0);
  return { projectId, route, key: header === undefined ? null : parseKey(header), isRetry: retryCount > 0 };
}

function parseKey(header: string): string {
  const quoted = /^"(.*)"$/.exec(header.trim());
  const key = quoted?.[1] ?? header.trim();
  if (!/^[\x21-\x7e]+$/.test(key) || key.length > LIMITS.idempotencyKeyChars) {
    throw new DomainError(
      'invalid_idempotency_key',
      `Idempotency-Key must have 1 to ${LIMITS.idempotencyKeyChars} visible ASCII characters.`,
      { param: 'Idempotency-Key' },
    );
  }
  return key;
}
