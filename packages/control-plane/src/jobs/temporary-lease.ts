import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';

/** How long a temporary object is kept from the orphan sweep, and how often that is said again. */
const KEPT_MS = 24 * 3_600_000;
const RENEWAL_MS = 10 * 60_000;

/** Keeps a temporary object for as long as somebody reads it, who may be a slow client. */
export class TemporaryLease {
  readonly #ledger: Pick<Ledger, 'keepTemporary' | 'releaseTemporary'>;
  readonly #clock: Clock;
  readonly #key: string;
  #renewAtMs: number | null = null;

  constructor(ledger: Pick<Ledger, 'keepTemporary' | 'releaseTemporary'>, clock: Clock, key: string) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#key = key;
  }

  /** To be called again and again while the object is in use. */
  async renew(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    if (this.#renewAtMs !== null && nowMs < this.#renewAtMs) return;
    await this.#ledger.keepTemporary({ key: this.#key, untilMs: nowMs + KEPT_MS });
    this.#renewAtMs = nowMs + RENEWAL_MS;
  }

  async release(): Promise<void> {
    if (this.#renewAtMs === null) return;
    this.#renewAtMs = null;
    await this.#ledger.releaseTemporary({ key: this.#key });
  }
}
