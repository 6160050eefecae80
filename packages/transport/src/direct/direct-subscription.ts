import { setTimeout as delay } from 'node:timers/promises';
import type { Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferHandler, OfferSubscription, TransportHealth } from '../port.js';

export interface DirectSubscriptionOptions {
  readonly poll: (signal: AbortSignal) => Promise<Offer[]>;
  readonly handle: OfferHandler;
  readonly paused: boolean;
  /** Named in health. */
  readonly serverUrl: string;
  readonly random: () => number;
}

const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 2_000;

/** A loop of polls, and the offers of the last one, handed to the handler one by one. */
export class DirectSubscription implements OfferSubscription {
  readonly #options: DirectSubscriptionOptions;
  readonly #closing = new AbortController();
  readonly #loop: Promise<void>;
  /** Aborted by `pause`, so that a full runner is given no offer that another one could take. */
  #polling: AbortController | null = null;
  #paused: boolean;
  #wake: () => void = () => {};
  /** Ends the wait under way, by its end or by a resume. */
  #endWait: () => void = () => {};
  #failures = 0;
  #health: TransportHealth;

  constructor(options: DirectSubscriptionOptions) {
    this.#options = options;
    this.#paused = options.paused;
    this.#health = { state: 'degraded', reason: `${options.serverUrl} has not answered yet` };
    this.#loop = this.#run();
  }

  pause(): void {
    this.#paused = true;
    this.#polling?.abort();
  }

  resume(): void {
    this.#paused = false;
    this.#wake();
    this.#endWait();
  }

  health(): TransportHealth {
    return this.#health;
  }

  async close(): Promise<void> {
    this.#health = { state: 'down', reason: 'the subscription is closed' };
    this.#closing.abort();
    this.#polling?.abort();
    this.#wake();
    await this.#loop;
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      await this.#resumed();
      if (this.#closed) return;
      for (const offer of await this.#poll()) await this.#deliver(offer);
    }
  }

  async #resumed(): Promise<void> {
    while (this.#paused && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async #poll(): Promise<Offer[]> {
    const polling = new AbortController();
    this.#polling = polling;
    const startedMs = performance.now();
    try {
      const offers = await this.#options.poll(polling.signal);
      this.#failures = 0;
      // A server that does not wait (it is closing, perhaps) must not be asked in a tight loop.
      if (offers.length === 0 && performance.now() - startedMs < FIRST_BACKOFF_MS)
        await this.#sleep(FIRST_BACKOFF_MS);
      if (!this.#closed) this.#health = { state: 'up', reason: null };
      return offers;
    } catch (error) {
      if (polling.signal.aborted) return [];
      const reason = error instanceof Error ? error.message || error.name : String(error);
      this.#health = { state: 'down', reason: `no offers from ${this.#options.serverUrl}: ${reason}` };
      await this.#sleep(this.#backoffMs());
      return [];
    } finally {
      this.#polling = null;
    }
  }

  async #deliver(offer: Offer): Promise<void> {
    for (;;) {
      await this.#resumed();
      if (this.#closed) return;
      const answer = await this.#options.handle(offer);
      if (answer.outcome === 'taken') return;
      await this.#sleep(answer.retryAfterMs);
    }
  }

  /** Equal jitter: at least half of the growing delay, so that a server that starts again is not rushed. */
  #backoffMs(): number {
    const capMs = Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failures);
    this.#failures += 1;
    return capMs / 2 + (this.#options.random() * capMs) / 2;
  }

  async #sleep(delayMs: number): Promise<void> {
    const ended = new AbortController();
    this.#endWait = () => ended.abort();
    const signal = AbortSignal.any([this.#closing.signal, ended.signal]);
    await delay(delayMs, null, { signal }).catch(() => {});
  }
}
