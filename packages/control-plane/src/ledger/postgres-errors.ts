import { CommitUnknownError, StoreBusyError, StoreUnavailableError } from '../ports/outage.js';

/** The server takes no writes: set so by an operator, or a standby. */
export const READ_ONLY_STATE = '25006';

/**
 * What PostgreSQL says when it cannot answer now: connections, resources, operators, read-only, statements cut by their
 * time.
 */
const OUTAGE_STATES = /^(?:08|53[^1]|57P|58|25P03|25006|57014)/;

/** After one of these the server may have committed before it could say so. */
const COMMIT_UNKNOWN_STATES = /^(?:08|57P|58)/;

const SQL_STATE = /^[0-9A-Z]{5}$/;

/** What `pg-pool` says when all connections were in use for as long as one waits. */
const POOL_EXHAUSTED = 'timeout exceeded when trying to connect';

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** Whether the server is away or busy with itself. Errors without a state of SQL's come from the connection. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = codeOf(error);
  return !SQL_STATE.test(code) || OUTAGE_STATES.test(code);
}

/** What failed before COMMIT was sent: nothing was done. */
export function toStoreError(error: unknown): unknown {
  if (error instanceof Error && error.message === POOL_EXHAUSTED) {
    return new StoreBusyError('All connections to the database are in use.', { cause: error });
  }
  if (!isOutage(error)) return error;
  return new StoreUnavailableError('The database does not answer.', { cause: error });
}

/** What failed with COMMIT, or with a change outside a transaction, once it was sent: the server may have taken it. */
export function toUnknownError(error: unknown): unknown {
  const code = codeOf(error);
  if (SQL_STATE.test(code) && !COMMIT_UNKNOWN_STATES.test(code)) return toStoreError(error);
  return new CommitUnknownError(
    'The database did not say whether it committed what was sent: it may stand or not.',
    { cause: error },
  );
}
