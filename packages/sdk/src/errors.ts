import type { Job } from './types.js';

/** One bad line or field of an input, as the server found it. `line` is 1-based and counts blank lines. */
export interface InputProblem {
  readonly line: number | null;
  readonly param: string | null;
  readonly code: string;
  readonly message: string;
}

/** Everything this library throws on purpose. */
export class BatchInferError extends Error {
  override name = 'BatchInferError';
}

/** The input itself could not be read: not the server's fault, and not repeated. */
export class InputReadError extends BatchInferError {
  override name = 'InputReadError';
}

/** What is known of a failed call. */
export interface APIErrorDetails {
  /** HTTP status; absent when no answer came. */
  readonly status?: number | undefined;
  /** The server's error code (see the table in `docs/errors.md`), or `connection_error`, `timeout`. */
  readonly code: string;
  readonly type?: string | undefined;
  readonly param?: string | null | undefined;
  readonly requestId?: string | null | undefined;
  readonly retryable: boolean;
  readonly errors?: readonly InputProblem[] | undefined;
  /** How long the server asked to wait before the next attempt. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** A call that the server refused or that did not get through. The subclass tells which. */
export class APIError extends BatchInferError {
  override name = 'APIError';
  /** HTTP status; `undefined` when no answer came. */
  readonly status: number | undefined;
  readonly code: string;
  readonly type: string | undefined;
  /** The parameter at fault, when the server named one. */
  readonly param: string | null;
  /** Quote it in a report: it stands in the server's log. */
  readonly requestId: string | null;
  /** Whether the same call may succeed later. The client has retried such calls already. */
  readonly retryable: boolean;
  /** Bad lines or fields of the input, at most 100, in order. */
  readonly errors: readonly InputProblem[];
  readonly retryAfterMs: number | undefined;

  constructor(message: string, details: APIErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = details.status;
    this.code = details.code;
    this.type = details.type;
    this.param = details.param ?? null;
    this.requestId = details.requestId ?? null;
    this.retryable = details.retryable;
    this.errors = details.errors ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** 400: the request or its input is not valid; `errors` names the lines. */
export class BadRequestError extends APIError {
  override name = 'BadRequestError';
}
/** 401: no API key, or one that is not valid. */
export class AuthenticationError extends APIError {
  override name = 'AuthenticationError';
}
/** 403: the API key may not do this. */
export class PermissionError extends APIError {
  override name = 'PermissionError';
}
/** 404: no such job, or it belongs to another project. */
export class NotFoundError extends APIError {
  override name = 'NotFoundError';
}
/** 409: the call does not fit the state of the job. */
export class ConflictError extends APIError {
  override name = 'ConflictError';
}
/** 422: the idempotency key was used with another request. */
export class UnprocessableError extends APIError {
  override name = 'UnprocessableError';
}
/** 429: too many requests, still after the retries. */
export class RateLimitError extends APIError {
  override name = 'RateLimitError';
}
/** 5xx, still after the retries. */
export class ServerError extends APIError {
  override name = 'ServerError';
}
/** No answer: the server could not be reached or the connection broke, still after the retries. */
export class ConnectionError extends APIError {
  override name = 'ConnectionError';
}
/** No answer within `timeoutMs`, still after the retries. */
export class TimeoutError extends ConnectionError {
  override name = 'TimeoutError';
}

/** The class for an HTTP status. */
export function errorClassOf(status: number): typeof APIError {
  if (status >= 500) return ServerError;
  return ERROR_CLASSES[status] ?? APIError;
}

const ERROR_CLASSES: Readonly<Record<number, typeof APIError>> = {
  400: BadRequestError,
  401: AuthenticationError,
  403: PermissionError,
  404: NotFoundError,
  405: BadRequestError,
  409: ConflictError,
  413: BadRequestError,
  415: BadRequestError,
  422: UnprocessableError,
  429: RateLimitError,
};

/** The job ended as `failed`, `cancelled` or `expired`. What was finished can still be read from its results. */
export class JobFailedError extends BatchInferError {
  override name = 'JobFailedError';
  readonly job: Job;

  constructor(job: Job) {
    super(`Job ${job.id} ended as ${job.status}: ${reasonOf(job)}`);
    this.job = job;
  }
}

function reasonOf(job: Job): string {
  const [inputProblem] = job.inputErrors;
  if (inputProblem !== undefined) {
    const place = inputProblem.line === null ? '' : `line ${inputProblem.line}: `;
    return `its input was refused (${place}${inputProblem.message})`;
  }
  const { succeeded, total } = job.counts;
  const most = job.errors.toSorted((left, right) => right.count - left.count)[0];
  const cause = most === undefined ? '' : `; ${most.count} × ${most.code}: ${most.message}`;
  return `${succeeded} of ${total} items succeeded${cause}`;
}

/** Some items of a job failed, and the caller had asked for all of them. */
export class PartialFailureError extends BatchInferError {
  override name = 'PartialFailureError';
  readonly job: Job;
  /** The failed items by index, at most 100; `job.counts` has how many there are. */
  readonly failures: readonly { readonly index: number; readonly message: string }[];

  constructor(
    job: Job,
    failures: readonly { readonly index: number; readonly message: string }[],
    failed: number,
  ) {
    const [first] = failures;
    const example = first === undefined ? '' : `; first item ${first.index}: ${first.message}`;
    super(`${failed} of ${job.counts.total} items of job ${job.id} failed${example}`);
    this.job = job;
    this.failures = failures;
  }
}

/** The job had not ended within the time given to `wait`. It goes on: wait again, or attach to `job.id` later. */
export class WaitTimeoutError extends BatchInferError {
  override name = 'WaitTimeoutError';
  readonly job: Job;

  constructor(job: Job, timeoutMs: number) {
    super(`Job ${job.id} is still ${job.status} after ${timeoutMs} ms; it goes on`);
    this.job = job;
  }
}
