import type { Dispatcher } from 'undici';
import type { OfferHandler, OfferSubscriber, OfferSubscription } from '../port.js';
import { DirectSubscription } from './direct-subscription.js';
import { OfferPoller } from './offer-poller.js';

export interface DirectSubscriberOptions {
  /** Origin of the control plane, such as `http://127.0.0.1:8080`. */
  readonly serverUrl: string;
  readonly runnerId: string;
  readonly apiKey?: string;
  /** Asked before every poll: how many offers (shards) the runner could claim now; at least 1. Default 4. */
  readonly maxOffers?: () => number;
  /** How long a poll waits at the control plane for its first offer. Default 25 s. */
  readonly waitMs?: number;
  /** The runner's own HTTP client; by default undici's global one. */
  readonly dispatcher?: Dispatcher;
  /** Source of jitter, 0 to 1. */
  readonly random?: () => number;
}

/** The runner's side of the direct transport: one long poll after the other, each answered in milliseconds. */
export class DirectSubscriber implements OfferSubscriber {
  readonly #options: DirectSubscriberOptions;

  constructor(options: DirectSubscriberOptions) {
    this.#options = options;
  }

  async subscribe(params: {
    models: readonly string[];
    handle: OfferHandler;
    paused?: boolean;
  }): Promise<OfferSubscription> {
    const options = this.#options;
    const poller = new OfferPoller({
      serverUrl: options.serverUrl,
      runnerId: options.runnerId,
      apiKey: options.apiKey ?? null,
      models: params.models,
      waitMs: options.waitMs ?? 25_000,
      dispatcher: options.dispatcher ?? null,
    });
    return new DirectSubscription({
      poll: (signal) => poller.poll({ max: Math.max(1, options.maxOffers?.() ?? 4), signal }),
      handle: params.handle,
      paused: params.paused ?? false,
      serverUrl: options.serverUrl,
      random: options.random ?? Math.random,
    });
  }
}
