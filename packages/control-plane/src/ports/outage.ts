/**
 * A store does not answer now. Nothing was done, unless it is a `CommitUnknownError`. Classified where the driver's error
 * is seen; nobody else looks at driver codes.
 */
export class StoreUnavailableError extends Error {
  override readonly name: string = 'StoreUnavailableError';
}

/**
 * The connection was lost, or its time was over, after COMMIT had been sent and before its answer came: what the
 * transaction wrote may stand or not. Whoever wrote an object for it must leave the object where it is, and nobody may
 * say that nothing was done.
 */
export class CommitUnknownError extends StoreUnavailableError {
  override readonly name = 'CommitUnknownError';
}

/** All connections to the store are in use, for longer than one waits. The store itself is well: this is no outage. */
export class StoreBusyError extends StoreUnavailableError {
  override readonly name = 'StoreBusyError';
}
