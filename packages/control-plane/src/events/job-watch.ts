import { Inject, Injectable } from '@nestjs/common';
import type { Signals } from '../ports/signals.js';
import { SIGNALS } from '../tokens.js';

/** Follows one job. Close it when nobody waits any more. */
export interface JobWatcher extends Disposable {
  /**
   * Resolves when the job has changed since the last call, or after `timeoutMs`, or when the process is about to end.
   * A change between two calls is not missed.
   * @throws the signal's reason
   */
  next(timeoutMs: number, signal: AbortSignal): Promise<void>;
}

/**
 * Wakes whoever waits for a job. One listener for all of them: with thousands of waiting requests a listener each would
 * make every change of a job as many calls. Changes made by other control planes send no signal here, so that whoever
 * waits looks by itself from time to time.
 */
@Injectable()
export class JobWatch {
  readonly #watchers = new Map<string, Set<Watcher>>();
  #draining = false;

  constructor(@Inject(SIGNALS) signals: Signals) {
    signals.on('job-changed', (jobId) => {
      for (const watcher of this.#watchers.get(jobId) ?? []) watcher.notify();
    });
    signals.once('draining', () => {
      this.#draining = true;
      for (const watchers of this.#watchers.values()) for (const watcher of watchers) watcher.notify();
    });
  }

  /** True when the process is about to end: nobody is made to wait any more. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Watchers that are open. */
  get size(): number {
    let size = 0;
    for (const watchers of this.#watchers.values()) size += watchers.size;
    return size;
  }

  open(jobId: string): JobWatcher {
    const watcher = new Watcher(() => {
      const others = this.#watchers.get(jobId);
      others?.delete(watcher);
      if (others?.size === 0) this.#watchers.delete(jobId);
    });
    const watchers = this.#watchers.get(jobId) ?? new Set();
    this.#watchers.set(jobId, watchers.add(watcher));
    return watcher;
  }
}

class Watcher implements JobWatcher {
  readonly #onClose: () => void;
  #changed = false;
  #wake: (() => void) | null = null;

  constructor(onClose: () => void) {
    this.#onClose = onClose;
  }

  notify(): void {
    this.#changed = true;
    this.#wake?.();
  }

  async next(timeoutMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#changed) await this.#wait(timeoutMs, signal);
    this.#changed = false;
    signal.throwIfAborted();
  }

  async #wait(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    const wake = () => resolve();
    this.#wake = wake;
    signal.addEventListener('abort', wake, { once: true });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#wake = null;
      signal.removeEventListener('abort', wake);
    }
  }

  [Symbol.dispose](): void {
    this.#onClose();
  }
}
