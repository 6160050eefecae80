import type { ErrorCode } from '@batch-infer/contracts';

/** Refusals with such a code come in floods while something is away. */
const FLOODING: ReadonlySet<ErrorCode> = new Set(['unavailable', 'storage_full', 'shutting_down']);

/** What the caller's own job came to: nothing failed here. */
const NO_FAILURES: ReadonlySet<ErrorCode> = new Set(['answer_not_ready', 'item_not_run']);

/** Without a refusal for so long, the next one belongs to another outage. */
const QUIET_MS = 10_000;

/** Decides which failed requests are logged: one for each outage, and everything else that failed here. */
export class OutageLog {
  readonly #nowMs: () => number;
  readonly #lastMs = new Map<ErrorCode, number>();

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  mayLog(code: ErrorCode): boolean {
    if (NO_FAILURES.has(code)) return false;
    if (!FLOODING.has(code)) return true;
    const nowMs = this.#nowMs();
    const lastMs = this.#lastMs.get(code);
    this.#lastMs.set(code, nowMs);
    return lastMs === undefined || nowMs - lastMs > QUIET_MS;
  }
}
