/** The server cannot start. `message` says what is wrong and the next step, in whole sentences for its user. */
export class BootError extends Error {
  override readonly name = 'BootError';
}

/** The system's or driver's code of an error, such as `EADDRINUSE`; its name when it has none. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if ('code' in error && typeof error.code === 'string') return error.code;
  // A connection that was tried on several addresses fails with one error for each.
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return error.cause instanceof Error ? codeOf(error.cause) : error.name;
}
