import { ERROR_RULES, parseExactJson } from '@batch-infer/contracts';
import {
  ANTHROPIC_ERROR_TYPES,
  type AnthropicError,
  type AnthropicErrorType,
} from '@batch-infer/contracts/anthropic';
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
const errorTypeOf = (status: number): AnthropicErrorType =>
  BY_STATUS[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error');

/**
 * The error body of a request that an engine refused: its own bytes where they are Anthropic's words, else what it says in
 * these. Names that Anthropic does not have become the one of the status.
 * @param params.body what the engine answered; empty where it did not
 * @param params.message stands for what it did not say
 */
export function anthropicErrorBody(params: {
  body: Uint8Array;
  status: number;
  message: string;
  requestId: string;
}): Uint8Array | string {
  const said = parse(params.body);
  const { type, message } = said?.error ?? {};
  const known = ANTHROPIC_ERROR_TYPES.find((name) => name === type);
  if (known !== undefined && typeof message === 'string' && typeof said?.request_id === 'string')
    return params.body;
  return JSON.stringify({
    type: 'error',
    error: {
      ...said?.error,
      type: known ?? errorTypeOf(params.status),
      message: typeof message === 'string' ? message : params.message,
    },
    request_id: typeof said?.request_id === 'string' ? said.request_id : params.requestId,
  });
}

interface Said {
  readonly error: { readonly type?: unknown; readonly message?: unknown };
  readonly request_id?: unknown;
}

/** An error that has Anthropic's shape; `null` for everything else. */
function parse(body: Uint8Array): Said | null {
  try {
    const said: unknown = parseExactJson(new TextDecoder().decode(body));
    return isSaid(said) ? said : null;
  } catch {
    return null;
  }
}

const isSaid = (value: unknown): value is Said =>
  typeof value === 'object' &&
  value !== null &&
  'type' in value &&
  value.type === 'error' &&
  'error' in value &&
  typeof value.error === 'object' &&
  value.error !== null;
