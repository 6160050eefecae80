import type { Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher, TransportHealth } from '@batch-infer/transport';
import { seededRandom, shuffled } from './random.js';

/** Chances from 0 to 1, each for every offer. */
export interface ChaosOptions {
  readonly seed: number;
  /** The offer is lost without a word. */
  readonly drop?: number;
  /** It arrives twice. */
  readonly double?: number;
  /** With it, an older offer arrives once more. */
  readonly replay?: number;
  /** The offers of one call arrive in another order. Default true. */
  readonly shuffle?: boolean;
}

/** Offers of the past that may come again. */
const REMEMBERED_OFFERS = 256;

/** Mistreats what is published before another publisher gets it. */
export function chaosPublisher(publisher: OfferPublisher, options: ChaosOptions): OfferPublisher {
  const random = seededRandom(options.seed);
  const past: Offer[] = [];

  function mistreat(offers: readonly Offer[]): Offer[] {
    const result: Offer[] = [];
    for (const offer of offers) {
      if (random() >= (options.drop ?? 0)) result.push(offer);
      if (random() < (options.double ?? 0)) result.push(offer);
      const old = past[Math.floor(random() * past.length)];
      if (old && random() < (options.replay ?? 0)) result.push(old);
      past.push(offer);
      if (past.length > REMEMBERED_OFFERS) past.shift();
    }
    return options.shuffle === false ? result : shuffled(result, random);
  }

  return {
    publish: (params) => publisher.publish({ ...params, offers: mistreat(params.offers) }),
    ...(publisher.demand ? { demand: publisher.demand } : {}),
    health: (): TransportHealth => publisher.health(),
    close: () => publisher.close(),
  };
}
