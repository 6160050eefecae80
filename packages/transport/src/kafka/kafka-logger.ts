/** What the transport says while it works; a pino logger fits. Fields never hold offers' contents or credentials. */
export interface KafkaLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const nothing = (): void => {};
export const silentKafkaLogger: KafkaLogger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
};

const DEFAULT_INTERVAL_MS = 30_000;

/**
 * Lets one line of each kind through in an interval and counts the rest: a consumer of a deleted topic crashes five
 * times a second.
 */
export class RateLimiter {
  readonly #intervalMs: number;
  readonly #now: () => number;
  readonly #kinds = new Map<string, { lastMs: number; suppressed: number }>();

  constructor(params: { intervalMs?: number; now?: () => number } = {}) {
    this.#intervalMs = params.intervalMs ?? DEFAULT_INTERVAL_MS;
    this.#now = params.now ?? (() => performance.now());
  }

  /** Calls `write` with the number of lines of this kind that were left out before, or leaves this one out too. */
  limit(kind: string, write: (suppressed: number) => void): void {
    const nowMs = this.#now();
    const previous = this.#kinds.get(kind);
    if (previous !== undefined && nowMs - previous.lastMs < this.#intervalMs) {
      previous.suppressed += 1;
      return;
    }
    this.#kinds.set(kind, { lastMs: nowMs, suppressed: 0 });
    write(previous?.suppressed ?? 0);
  }
}

/** The short text of anything thrown. */
export const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message || error.name : String(error);
