/** Every error the HTTP API answers with: one table, walked by a test and printed into `docs/errors.md`. */
export interface ErrorRule {
  readonly status: number;
  /** OpenAI's `error.type`. */
  readonly type: string;
  readonly title: string;
  /** Whether the same request may succeed later; `false` also sends `x-should-retry: false`. */
  readonly retryable: boolean;
}

const invalid = (title: string, status = 400): ErrorRule => ({
  status,
  type: 'invalid_request_error',
  title,
  retryable: false,
});

export const ERROR_RULES = {
  invalid_json: invalid('The body is not valid JSON'),
  invalid_request: invalid('The request is not valid'),
  invalid_parameter: invalid('A parameter is not valid'),
  missing_parameter: invalid('A parameter is missing'),
  invalid_file: invalid('The input file has errors'),
  empty_file: invalid('The input file has no requests'),
  invalid_endpoint: invalid('The endpoint cannot be batched'),
  invalid_cursor: invalid('The cursor is not valid'),
  invalid_idempotency_key: invalid('The Idempotency-Key is not valid'),
  idempotency_key_reused: invalid('The Idempotency-Key was used with another request', 422),
  unsupported_media_type: invalid('The content type is not supported', 415),
  body_too_large: invalid('The body is too large', 413),
  file_too_large: invalid('The file is too large', 413),
  protocol_mismatch: invalid('Runner and control plane speak different protocol versions'),
  wrong_purpose: invalid('The file has another purpose'),
  file_in_use: invalid('The file is needed by a job that has not ended', 409),
  upload_not_pending: invalid('The upload has ended'),
  job_not_ended: invalid('The job has not ended', 409),
  job_already_ended: invalid('The job has already ended', 409),
  nothing_to_retry: invalid('No item matches', 409),
  project_exists: invalid('A project of this id exists with other settings', 409),
  too_many_webhook_endpoints: invalid('The project has too many webhook endpoints', 409),
  runner_id_taken: invalid('Another live runner has this id', 409),
  too_many_runners: invalid('The project has too many runners', 409),
  key_already_rotated: invalid('The API key has a successor that is in use', 409),
  range_not_satisfiable: invalid('The range is not there', 416),
  misdirected_request: invalid('The server does not answer under this name', 421),
  headers_too_large: invalid('The headers are too large', 431),
  request_timeout: {
    status: 408,
    type: 'timeout_error',
    title: 'The request did not come in time',
    retryable: true,
  },
  method_not_allowed: invalid('The method is not allowed here', 405),
  missing_api_key: {
    status: 401,
    type: 'authentication_error',
    title: 'An API key is needed',
    retryable: false,
  },
  invalid_api_key: {
    status: 401,
    type: 'authentication_error',
    title: 'The API key is not valid',
    retryable: false,
  },
  insufficient_scope: {
    status: 403,
    type: 'permission_error',
    title: 'The API key may not do this',
    retryable: false,
  },
  origin_not_allowed: {
    status: 403,
    type: 'permission_error',
    title: 'Web pages of this origin may not do this',
    retryable: false,
  },
  not_found: { status: 404, type: 'not_found_error', title: 'Not found', retryable: false },
  model_not_served: {
    status: 404,
    type: 'not_found_error',
    title: 'No runner serves the model',
    retryable: false,
  },
  lease_lost: {
    status: 409,
    type: 'invalid_request_error',
    title: 'The lease is no longer held',
    retryable: false,
  },
  rate_limited: { status: 429, type: 'rate_limit_error', title: 'Too many requests', retryable: true },
  internal_error: {
    status: 500,
    type: 'server_error',
    title: 'Something went wrong on our side',
    retryable: true,
  },
  answer_not_ready: {
    status: 504,
    type: 'timeout_error',
    title: 'The answer is not there yet',
    retryable: true,
  },
  item_not_run: { status: 502, type: 'server_error', title: 'The request was not run', retryable: true },
  unavailable: { status: 503, type: 'server_error', title: 'The service cannot answer now', retryable: true },
  storage_full: { status: 507, type: 'server_error', title: 'The storage is full', retryable: false },
  shutting_down: { status: 503, type: 'server_error', title: 'The server is shutting down', retryable: true },
} as const satisfies Record<string, ErrorRule>;

export type ErrorCode = keyof typeof ERROR_RULES;

/** One bad line or field of an input. `line` is 1-based. */
export interface InputError {
  readonly line: number | null;
  readonly param: string | null;
  readonly code: string;
  readonly message: string;
}
