/**
 * A store does not answer now. Nothing was done, unless it is a `CommitUnknownError`. Classified where the driver's error
 * is seen; nobody else looks at driver codes.
 */
export class StoreUnavailableError extends Error {
  override readonly name: string = 'StoreUnavailableError';
}

/**
 * The connection was lost, or its time was over, after COMMIT (or a change outside a transaction) had been sent and before
 * its answer came: what was written may stand or not. Whoever wrote an object for it must leave the object where it is, and nobody may
 * say that nothing was done.
 */
export class CommitUnknownError extends StoreUnavailableError {
  override readonly name = 'CommitUnknownError';
}

/** All connections to the store are in use, for longer than one waits. The store itself is well: this is no outage. */
export class StoreBusyError extends StoreUnavailableError {
  override readonly name = 'StoreBusyError';
}

/** Codes of connections that fail and of databases that cannot answer now; the causes of an error count too. */
const OUTAGE_CODES: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'SQLITE_BUSY',
]);

/** Whether an error says that a store, or the way to it, does not work now; of an unknown commit too. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof StoreUnavailableError) return true;
  if ('code' in error && OUTAGE_CODES.has(error.code)) return true;
  if (error instanceof AggregateError && error.errors.some(isOutage)) return true;
  return isOutage(error.cause);
}
