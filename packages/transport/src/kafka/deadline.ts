/** Work took longer than it may. It may still go on, unheard. */
class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
}

/**
 * Waits for work no longer than `timeoutMs`: endless retries of a Kafka client hung a send for as long as the broker was
 * away, without an event.
 * @throws {DeadlineError} and the signal's reason.
 */
export async function withDeadline<Result>(
  work: Promise<Result>,
  params: { timeoutMs: number; what: string; signal?: AbortSignal | undefined },
): Promise<Result> {
  const { timeoutMs, what, signal } = params;
  signal?.throwIfAborted();
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new DeadlineError(`${what} took longer than ${timeoutMs} ms`)),
    timeoutMs,
  );
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Waits; returns early, without a fuss, when the signal aborts. */
export function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, delayMs);
    signal.addEventListener('abort', end);
  });
}
