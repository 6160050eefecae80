import type { Logger } from '../telemetry/logger.js';
import { FailureLog } from './failure-log.js';
import { withProgress } from './progress.js';

export interface LoopOptions {
  readonly name: string;
  /** Time between the end of one tick and the start of the next, when nobody wakes it. */
  readonly intervalMs: number;
  /**
   * One step; `true` when there is more to do right now. The signal ends with the loop, or when the step is abandoned.
   */
  readonly tick: (signal: AbortSignal) => Promise<unknown>;
  readonly logger: Logger;
  /** Longest time between failing ticks. Default 5 s. */
  readonly maxBackoffMs?: number;
  /** A tick that gives no sign of life (`reportProgress`) for this long is abandoned. Default `SILENCE_LIMIT_MS`. */
  readonly silenceLimitMs?: number;
  /** How each tick ended, for metrics. */
  readonly onTick?: (outcome: 'succeeded' | 'failed') => void;
  readonly random?: () => number;
}

/** Longer than any one thing that a tick waits for may take. */
const SILENCE_LIMIT_MS = 60_000;
/** Abandoned ticks that may still be running somewhere when another one begins. */
const MAX_ABANDONED = 2;

/** A tick said nothing for too long. */
class TickAbandonedError extends Error {
  override readonly name = 'TickAbandonedError';
}

/**
 * Runs a step again and again. A step that fails is repeated with growing distance and jitter until it works again, and
 * never ends the process; one that hangs is left behind, and the next begins.
 */
export class Loop {
  readonly name: string;
  readonly #options: LoopOptions;
  readonly #stopping = new AbortController();
  readonly #failureLog: FailureLog;
  readonly #silenceLimitMs: number;
  readonly #abandoned = new Set<Promise<unknown>>();
  #running: Promise<void> | null = null;
  #isTicking = false;
  /** When a tick last ended or gave a sign of life, or the first of those that hang now began. */
  #aliveAtMs = 0;
  #woken = false;
  #endSleep: () => void = () => {};

  constructor(options: LoopOptions) {
    this.name = options.name;
    this.#options = options;
    this.#silenceLimitMs = options.silenceLimitMs ?? SILENCE_LIMIT_MS;
    this.#failureLog = new FailureLog({ logger: options.logger, fields: { loop: options.name } });
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Look now: cuts the pause short, or adds one more tick right after the one that runs. */
  wake(): void {
    this.#woken = true;
    // A loop that backs off is not hurried: what failed would fail again.
    if (this.#failureLog.failures === 0) this.#endSleep();
  }

  /** Resolves when the tick that runs has ended; no other begins. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#endSleep();
    await this.#running;
  }

  /** For how long nothing was heard of its ticks while more than one of them had the time to end; 0 for a loop that lives. */
  hungForMs(): number {
    if (!this.#isTicking || this.#stopping.signal.aborted) return 0;
    const silentMs = performance.now() - this.#aliveAtMs;
    return silentMs > 2 * this.#silenceLimitMs ? silentMs : 0;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#woken = false;
      const again = await this.#tick(signal);
      if (signal.aborted) return;
      const failing = this.#failureLog.failures > 0;
      const delayMs = failing ? this.#backoffMs() : again || this.#woken ? 0 : this.#options.intervalMs;
      if (delayMs > 0) await this.#sleep(delayMs);
      // Others get their turn even when there is always more to do.
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #tick(stopping: AbortSignal): Promise<boolean> {
    if (!this.#isTicking) this.#aliveAtMs = performance.now();
    this.#isTicking = true;
    try {
      await this.#roomForOneMore(stopping);
      if (stopping.aborted) return false;
      const again = await this.#bounded(stopping);
      this.#isTicking = false;
      this.#failureLog.worked();
      this.#options.onTick?.('succeeded');
      return again === true;
    } catch (error) {
      if (stopping.aborted) return false;
      // One that was abandoned has not ended: the loop hangs until one of its ticks does.
      if (!(error instanceof TickAbandonedError)) this.#isTicking = false;
      this.#failureLog.failed(error);
      this.#options.onTick?.('failed');
      return false;
    }
  }

  /** Runs one tick, as long as it lives. @throws TickAbandonedError */
  async #bounded(stopping: AbortSignal): Promise<unknown> {
    const abandoning = new AbortController();
    const beganAtMs = performance.now();
    let heardAtMs = beganAtMs;
    let timer: NodeJS.Timeout | undefined;
    const tick = withProgress(
      () => {
        heardAtMs = performance.now();
        this.#aliveAtMs = heardAtMs;
      },
      async () => this.#options.tick(AbortSignal.any([stopping, abandoning.signal])),
    );
    const silence = new Promise<never>((_resolve, reject) => {
      const look = () => {
        const leftMs = heardAtMs + this.#silenceLimitMs - performance.now();
        if (leftMs > 0) {
          timer = setTimeout(look, Math.ceil(leftMs));
          return;
        }
        const seconds = Math.round((performance.now() - beganAtMs) / 1_000);
        reject(
          new TickAbandonedError(`Hung: it began ${seconds} s ago, and was left behind after a silence.`),
        );
      };
      timer = setTimeout(look, this.#silenceLimitMs);
    });
    try {
      return await Promise.race([tick, silence]);
    } catch (error) {
      if (error instanceof TickAbandonedError) this.#abandon(tick, abandoning, error);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #abandon(tick: Promise<unknown>, abandoning: AbortController, reason: TickAbandonedError): void {
    const left = tick
      .catch(() => undefined)
      .finally(() => {
        this.#abandoned.delete(left);
      });
    this.#abandoned.add(left);
    abandoning.abort(reason);
  }

  /** Ticks that hang never pile up: one that would be the third waits for one of them to end. */
  async #roomForOneMore(stopping: AbortSignal): Promise<void> {
    if (this.#abandoned.size < MAX_ABANDONED) return;
    const { promise: stopped, resolve } = Promise.withResolvers<void>();
    const onStop = () => resolve();
    stopping.addEventListener('abort', onStop, { once: true });
    try {
      await Promise.race([...this.#abandoned, stopped]);
    } finally {
      stopping.removeEventListener('abort', onStop);
    }
  }

  #backoffMs(): number {
    const { intervalMs, maxBackoffMs = 5_000, random = Math.random } = this.#options;
    const exponent = Math.min(this.#failureLog.failures, 10);
    const capMs = Math.min(maxBackoffMs, Math.max(50, intervalMs) * 2 ** exponent);
    return capMs / 2 + (random() * capMs) / 2;
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs);
      this.#endSleep = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
