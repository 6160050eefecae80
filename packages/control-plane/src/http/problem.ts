import { ERROR_RULES, type ErrorCode, LIMITS } from '@batch-infer/contracts';
import type { Problem } from '@batch-infer/contracts/native';
import { HttpException } from '@nestjs/common';
import { DomainError } from '../errors.js';
import { BlobMissingError, StorageFullError } from '../ports/blobs.js';
import { CommitUnknownError, isOutage } from '../ports/outage.js';

/** An error as it goes over the wire: `application/problem+json` with OpenAI's `error` object beside it. */
export interface ProblemAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Problem;
}

/** Maps anything thrown to its answer. Texts that are not ours (which may quote a body) never get through. */
export function toProblem(error: unknown, requestId: string): ProblemAnswer {
  const domain = toDomainError(error);
  const rule = ERROR_RULES[domain.code];
  const headers: Record<string, string> = { 'content-type': 'application/problem+json; charset=utf-8' };
  if (!rule.retryable) headers['x-should-retry'] = 'false';
  else if (domain.retryAfterSeconds !== null || rule.status === 429 || rule.status === 503) {
    const seconds = Math.max(1, Math.min(domain.retryAfterSeconds ?? 1, LIMITS.retryAfterMaxSeconds));
    headers['retry-after'] = String(Math.ceil(seconds));
  }
  return {
    status: rule.status,
    headers,
    body: {
      type: `urn:batch-infer:error:${domain.code}`,
      title: rule.title,
      status: rule.status,
      detail: domain.message,
      code: domain.code,
      param: domain.param,
      request_id: requestId,
      errors: domain.errors.map(({ line, param, code, message }) => ({ line, param, code, message })),
      error: { message: domain.message, type: rule.type, param: domain.param, code: domain.code },
    },
  };
}

/** The domain error that stands for anything thrown; `internal_error` for what nobody foresaw. */
export function toDomainError(error: unknown): DomainError {
  if (error instanceof DomainError) return error;
  if (error instanceof StorageFullError) {
    return new DomainError(
      'storage_full',
      'The storage is full: nothing was stored. Free some space, then send the request again.',
      {
        cause: error,
      },
    );
  }
  if (error instanceof BlobMissingError) {
    return new DomainError('internal_error', 'Stored bytes that should exist are missing.', { cause: error });
  }
  if (error instanceof CommitUnknownError) {
    return new DomainError(
      'unavailable',
      'The ledger went away while it wrote: whether the request took effect is not known. Send the same request again, with the same Idempotency-Key if it had one: it is not done twice then.',
      { cause: error, retryAfterSeconds: 2 },
    );
  }
  if (isOutage(error)) {
    return new DomainError(
      'unavailable',
      // A request may be more than one transaction: that nothing was done is not known here.
      'The ledger or the blob store does not answer now. Send the same request again soon, with the same Idempotency-Key if it had one.',
      {
        cause: error,
        retryAfterSeconds: 2,
      },
    );
  }
  const code = statusCode(error);
  if (code === null) {
    return new DomainError(
      'internal_error',
      'Something went wrong on our side. Quote the request id when you report it.',
      {
        cause: error,
      },
    );
  }
  return new DomainError(code, MESSAGES[code] ?? `${ERROR_RULES[code].title}.`, { cause: error });
}

/** Errors of the framework, by their status: unknown routes, bodies it could not read. */
function statusCode(error: unknown): ErrorCode | null {
  const status = error instanceof HttpException ? error.getStatus() : frameworkStatus(error);
  return status === null
    ? null
    : (BY_STATUS[status] ?? (status >= 400 && status < 500 ? 'invalid_request' : null));
}

/** Fastify's and its plugins' errors carry `statusCode` and a code that begins with `FST_`. */
function frameworkStatus(error: unknown): number | null {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number')
    return null;
  return 'code' in error && typeof error.code === 'string' && error.code.startsWith('FST_')
    ? error.statusCode
    : null;
}

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  401: 'missing_api_key',
  403: 'insufficient_scope',
  404: 'not_found',
  405: 'method_not_allowed',
  406: 'unsupported_media_type',
  413: 'body_too_large',
  415: 'unsupported_media_type',
  429: 'rate_limited',
  503: 'unavailable',
};

const MESSAGES: Partial<Record<ErrorCode, string>> = {
  not_found: 'There is nothing at this address. The API is described at /openapi.json.',
  body_too_large: `The body is too large: a JSON body may have ${LIMITS.jsonBodyBytes} bytes. Send larger inputs as a file or as application/x-ndjson.`,
  unsupported_media_type:
    'The content type is not supported. Send application/json, application/x-ndjson, or multipart/form-data for files.',
  invalid_request: 'The request could not be read.',
};
