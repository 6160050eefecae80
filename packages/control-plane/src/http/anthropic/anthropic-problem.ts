import { ERROR_RULES } from '@batch-infer/contracts';
import type { AnthropicError, AnthropicErrorType } from '@batch-infer/contracts/anthropic';
import { toDomainError, toProblem } from '../problem.js';

/** An error as Anthropic's SDKs read it. */
export interface AnthropicAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AnthropicError;
}

/** Maps anything thrown to its answer under `/v1/messages`. What is no upstream field stands in `x_batch_infer`. */
export function toAnthropicAnswer(error: unknown, requestId: string): AnthropicAnswer {
  const domain = toDomainError(error);
  const { headers } = toProblem(domain, requestId);
  const rule = ERROR_RULES[domain.code];
  // Anthropic has a status of its own for "not now".
  const status = rule.status === 503 ? 529 : rule.status;
  return {
    status,
    headers: { ...headers, 'content-type': 'application/json; charset=utf-8' },
    body: {
      type: 'error',
      error: { type: errorTypeOf(status), message: domain.message },
      request_id: requestId,
      x_batch_infer: {
        code: domain.code,
        param: domain.param,
        errors: domain.errors.map(({ param, code, message }) => ({ param, code, message })),
      },
    },
  };
}

const BY_STATUS: Readonly<Record<number, AnthropicErrorType>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

/** Anthropic's name for errors of a status. */
export const errorTypeOf = (status: number): AnthropicErrorType =>
  BY_STATUS[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error');
