import type { ErrorCode, InputError } from '@batch-infer/contracts';
import { ERROR_RULES } from '@batch-infer/contracts';

/**
 * What services throw. One filter maps it to the wire of each dialect; status, type and retryability stand in
 * `ERROR_RULES`. `message` says what, why and the next step, and never holds a prompt, a completion or a secret.
 */
export class DomainError extends Error {
  override readonly name = 'DomainError';
  readonly code: ErrorCode;
  readonly param: string | null;
  /** Bad lines or fields, in order. */
  readonly errors: readonly InputError[];
  readonly retryAfterSeconds: number | null;

  constructor(
    code: ErrorCode,
    message: string,
    details: {
      param?: string;
      errors?: readonly InputError[];
      retryAfterSeconds?: number;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: details.cause });
    this.code = code;
    this.param = details.param ?? null;
    this.errors = details.errors ?? [];
    this.retryAfterSeconds = details.retryAfterSeconds ?? null;
  }

  get status(): number {
    return ERROR_RULES[this.code].status;
  }
}
