import { performance } from 'node:perf_hooks';

/** A clock that never jumps back, with timers; injected so that tests own time. */
export interface Clock {
  /** Milliseconds since some fixed moment. */
  nowMs(): number;
  /** Runs `callback` once after `delayMs`. Calling the answer before that cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

export const monotonicClock: Clock = {
  nowMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delayMs`, or at once with `false` when the signal aborts. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const onAbort = () => {
      cancel();
      resolve(false);
    };
    const cancel = clock.after(delayMs, () => {
      signal.removeEventListener('abort', onAbort);
      resolve(true);
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
