import { codeOf } from '../boot/boot-error.js';
import type { Logger } from '../telemetry/logger.js';

/** While something keeps failing, it is said again this often. */
const REMIND_MS = 60_000;
/** Codes of errors that are told apart at most. */
const MAX_CODES = 20;

/**
 * What is logged of something that is tried until it works: its first failure, each error with a code that was not met
 * before, then once a minute how often and for how long it has failed, and in the end that it works again. One for each
 * thing that fails by itself: that another one works says nothing about it.
 */
export class FailureLog {
  readonly #logger: Logger;
  readonly #fields: Readonly<Record<string, string>>;
  readonly #nowMs: () => number;
  readonly #codes = new Set<string>();
  #failures = 0;
  #sinceMs = 0;
  #saidAtMs = 0;

  /** @param options.fields name the thing, in each line */
  constructor(options: { logger: Logger; fields: Readonly<Record<string, string>>; nowMs?: () => number }) {
    this.#logger = options.logger;
    this.#fields = options.fields;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  failed(error: unknown): void {
    const nowMs = this.#nowMs();
    this.#failures += 1;
    if (this.#failures === 1) this.#sinceMs = nowMs;
    const code = codeOf(error);
    const isNew = !this.#codes.has(code) && this.#codes.size < MAX_CODES;
    if (!isNew && nowMs - this.#saidAtMs < REMIND_MS) return;
    this.#codes.add(code);
    this.#saidAtMs = nowMs;
    if (this.#failures === 1) {
      this.#logger.error({ ...this.#fields, error }, 'failed; it is tried again until it works');
    } else {
      this.#logger.error({ ...this.#fields, ...this.#soFar(nowMs), error }, 'still fails');
    }
  }

  worked(): void {
    if (this.#failures === 0) return;
    this.#logger.info({ ...this.#fields, ...this.#soFar(this.#nowMs()) }, 'works again');
    this.#failures = 0;
    this.#codes.clear();
  }

  #soFar(nowMs: number): { failures: number; forSeconds: number } {
    return { failures: this.#failures, forSeconds: Math.round((nowMs - this.#sinceMs) / 1_000) };
  }
}
