import type { OfferHandler, OfferSubscriber } from '@batch-infer/transport';
import type { ChaosOptions } from './chaos-publisher.js';
import { seededRandom } from './random.js';

/**
 * Mistreats offers on the runner's side, where a consumer may lose its place: an offer is forgotten before the handler
 * sees it, or handed to it a second time although it was taken. Pausing is still obeyed.
 */
export function chaosSubscriber(
  subscriber: OfferSubscriber,
  options: Pick<ChaosOptions, 'seed' | 'drop' | 'double'>,
): OfferSubscriber {
  const random = seededRandom(options.seed);
  return {
    subscribe: async (params) => {
      let paused = params.paused ?? false;
      const handle: OfferHandler = async (offer) => {
        if (random() < (options.drop ?? 0)) return { outcome: 'taken' };
        if (random() >= (options.double ?? 0)) return params.handle(offer);
        const answer = await params.handle(offer);
        return paused ? answer : params.handle(offer);
      };
      const subscription = await subscriber.subscribe({ ...params, handle });
      return {
        pause: () => {
          paused = true;
          subscription.pause();
        },
        resume: () => {
          paused = false;
          subscription.resume();
        },
        health: () => subscription.health(),
        close: () => subscription.close(),
      };
    },
  };
}
