import { AsyncLocalStorage } from 'node:async_hooks';

const ticks = new AsyncLocalStorage<() => void>();

/** Runs a tick; whatever it reaches says by `reportProgress` that it still goes on. */
export function withProgress<T>(onProgress: () => void, tick: () => Promise<T>): Promise<T> {
  return ticks.run(onProgress, tick);
}

/**
 * Something was answered: the tick of a loop on whose behalf it was asked is slow at worst, and not hung. Called where
 * stores and receivers answer. Outside of loops it does nothing.
 */
export function reportProgress(): void {
  ticks.getStore()?.();
}
