import { LIMITS } from './limits.js';

/**
 * The failure taxonomy of items: every way in which a request at an engine can go wrong, classified once, at the
 * engine edge of the runner. Nobody downstream looks at status codes.
 */
export const FAILURE_CODES = [
  'invalid_request',
  'context_length_exceeded',
  'model_not_found',
  'engine_unauthorized',
  'unsupported_endpoint',
  'engine_error',
  'engine_unreachable',
  'connection_lost',
  'item_timeout',
  'invalid_response',
  'answer_too_large',
  'engine_aborted',
  'engine_overloaded',
  'worker_lost',
  'job_cancelled',
  'job_expired',
] as const;
export type FailureCode = (typeof FAILURE_CODES)[number];

/** How the runner treats a failure: `final` ends the item; `charged` counts as an attempt; `uncharged` does not. */
export type RetryClass = 'final' | 'charged' | 'uncharged';

export interface FailureRule {
  readonly retry: RetryClass;
  /** OpenAI's error type for the wire. */
  readonly type: string;
  /** Safe text: never holds a prompt, a completion or a secret. */
  readonly message: string;
}

export const FAILURE_RULES: Record<FailureCode, FailureRule> = {
  invalid_request: {
    retry: 'final',
    type: 'invalid_request_error',
    message: 'The engine refused the request.',
  },
  context_length_exceeded: {
    retry: 'final',
    type: 'invalid_request_error',
    message: "The prompt and the requested output do not fit in the model's context window.",
  },
  model_not_found: {
    retry: 'final',
    type: 'not_found_error',
    message: 'The engine does not serve this model.',
  },
  engine_unauthorized: {
    retry: 'final',
    type: 'authentication_error',
    message: "The engine refused the runner's API key.",
  },
  unsupported_endpoint: {
    retry: 'final',
    type: 'invalid_request_error',
    message: 'The engine does not serve this endpoint.',
  },
  engine_error: {
    retry: 'charged',
    type: 'server_error',
    message: 'The engine failed while it ran the request.',
  },
  engine_unreachable: {
    retry: 'uncharged',
    type: 'server_error',
    message: 'The engine could not be reached.',
  },
  connection_lost: {
    retry: 'charged',
    type: 'server_error',
    message: 'The connection to the engine broke before the answer was complete.',
  },
  item_timeout: {
    retry: 'charged',
    type: 'timeout_error',
    message: 'The engine did not answer within item_timeout_ms.',
  },
  invalid_response: {
    retry: 'charged',
    type: 'server_error',
    message: 'The engine answered with something that is not a valid response.',
  },
  answer_too_large: {
    retry: 'final',
    type: 'invalid_request_error',
    message: `The answer is larger than ${LIMITS.answerBytes / (1024 * 1024)} MiB (limit answerBytes). Ask for less in one request: fewer inputs or choices, a smaller max_tokens, or encoding_format base64 for embeddings.`,
  },
  engine_aborted: {
    retry: 'uncharged',
    type: 'server_error',
    message: 'The engine stopped before the answer was complete.',
  },
  engine_overloaded: {
    retry: 'uncharged',
    type: 'rate_limit_error',
    message: 'The engine has no room for the request now.',
  },
  worker_lost: {
    retry: 'final',
    type: 'server_error',
    message: 'The runner died every time it ran this item.',
  },
  job_cancelled: {
    retry: 'final',
    type: 'batch_cancelled',
    message: 'This request was not executed because the batch was cancelled.',
  },
  job_expired: {
    retry: 'final',
    type: 'batch_expired',
    message: 'This request could not be executed before the completion window expired.',
  },
};

/** An item's error as results show it. `code` is ours; `message` may be the engine's own text. */
export interface ItemError {
  readonly code: FailureCode;
  readonly type: string;
  readonly message: string;
  /** True when the same item may succeed if it is run again (`retry --failed`). */
  readonly retryable: boolean;
}

/** The error of a code, with the engine's own message when there is one (cut to 2,000 characters). */
export function itemError(code: FailureCode, engineMessage?: string): ItemError {
  const rule = FAILURE_RULES[code];
  const message = engineMessage ? engineMessage.slice(0, 2_000) : rule.message;
  const retryable =
    rule.retry !== 'final' || code === 'worker_lost' || code === 'job_cancelled' || code === 'job_expired';
  return { code, type: rule.type, message, retryable };
}
