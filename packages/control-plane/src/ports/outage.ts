/**
 * A store does not answer now: nothing was done, or nobody knows whether it was. Classified where the driver's error is
 * seen; nobody else looks at driver codes.
 */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
}
