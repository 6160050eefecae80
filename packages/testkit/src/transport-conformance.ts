import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import type {
  OfferHandler,
  OfferPublisher,
  OfferSubscriber,
  OfferSubscription,
} from '@batch-infer/transport';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** A transport under test, with a namespace of its own. */
export interface TransportUnderTest {
  readonly publisher: OfferPublisher;
  /** A subscriber of one more runner. */
  subscriber(runnerId: string): OfferSubscriber;
  close(): Promise<void>;
}

const WITHIN_MS = 30_000;

/** What every transport owes, whatever it loses, doubles or shuffles: run it in a few lines for each implementation. */
export function transportConformance(name: string, open: () => Promise<TransportUnderTest>): void {
  describe(`offer transport: ${name}`, () => {
    let transport: TransportUnderTest;
    let subscriptions: OfferSubscription[];
    let publishing: Repeater[];

    beforeEach(async () => {
      transport = await open();
      subscriptions = [];
      publishing = [];
    });

    afterEach(async () => {
      for (const repeater of publishing) await repeater.stop();
      for (const subscription of subscriptions) await subscription.close();
      await transport.close();
    });

    async function subscribe(
      runnerId: string,
      models: readonly string[],
      handle: OfferHandler,
      paused = false,
    ): Promise<OfferSubscription> {
      const subscription = await transport.subscriber(runnerId).subscribe({ models, handle, paused });
      subscriptions.push(subscription);
      return subscription;
    }

    /** Offers again what is not yet taken, as the sweeper does: a transport may lose an offer, never a shard. */
    function keepPublishing(offers: readonly Offer[], taken: ReadonlySet<string>): void {
      publishing.push(
        new Repeater(async () => {
          const open = offers.filter((offer) => !taken.has(offer.shard_id));
          // A publish may be refused while a connection breaks: the sweeper, too, only offers again.
          if (open.length > 0) await transport.publisher.publish({ offers: open }).catch(() => undefined);
        }),
      );
    }

    it('brings every offer to a subscriber of its model, unchanged', async () => {
      const offers = range(20).map((index) => makeOffer({ shard: `s-${index}` }));
      const received = new Map<string, Offer>();
      await subscribe('runner-1', ['m'], async (offer) => {
        received.set(offer.shard_id, offer);
        return { outcome: 'taken' };
      });
      keepPublishing(offers, keysOf(received));
      await eventually(() => received.size === offers.length);
      for (const offer of offers) expect(received.get(offer.shard_id)).toEqual(offer);
    });

    it('keeps an offer for a subscriber that comes later', async () => {
      const offer = makeOffer({ shard: 'early' });
      const received = new Map<string, Offer>();
      keepPublishing([offer], keysOf(received));
      await subscribe('runner-1', ['m'], async (delivered) => {
        received.set(delivered.shard_id, delivered);
        return { outcome: 'taken' };
      });
      await eventually(() => received.has('early'));
    });

    it('brings offers of all three priorities', async () => {
      const offers = (['low', 'normal', 'high'] as const).map((priority) =>
        makeOffer({ shard: priority, priority }),
      );
      const received = new Map<string, Offer>();
      await subscribe('runner-1', ['m'], async (offer) => {
        received.set(offer.shard_id, offer);
        return { outcome: 'taken' };
      });
      keepPublishing(offers, keysOf(received));
      await eventually(() => received.size === 3);
    });

    it('brings no offer of a model that a subscriber does not serve', async () => {
      const received = new Map<string, Offer>();
      const wrong: Offer[] = [];
      await subscribe('runner-m', ['m', 'also-m'], async (offer) => {
        if (offer.model !== 'm') wrong.push(offer);
        received.set(offer.shard_id, offer);
        return { outcome: 'taken' };
      });
      await subscribe('runner-n', ['n'], async (offer) => {
        if (offer.model !== 'n') wrong.push(offer);
        received.set(offer.shard_id, offer);
        return { outcome: 'taken' };
      });
      const offers = range(10).map((index) =>
        makeOffer({ shard: `s-${index}`, model: index % 2 ? 'm' : 'n' }),
      );
      keepPublishing(offers, keysOf(received));
      await eventually(() => received.size === offers.length);
      expect(wrong).toEqual([]);
    });

    it('lets several subscribers take the offers together', async () => {
      const taken = new Set<string>();
      const handle: OfferHandler = async (offer) => {
        taken.add(offer.shard_id);
        return { outcome: 'taken' };
      };
      await subscribe('runner-1', ['m'], handle);
      await subscribe('runner-2', ['m'], handle);
      keepPublishing(
        range(30).map((index) => makeOffer({ shard: `s-${index}` })),
        taken,
      );
      await eventually(() => taken.size === 30);
    });

    it('delivers a busy offer again', async () => {
      const attempts = new Map<string, number>();
      const taken = new Set<string>();
      await subscribe('runner-1', ['m'], async (offer) => {
        const attempt = (attempts.get(offer.shard_id) ?? 0) + 1;
        attempts.set(offer.shard_id, attempt);
        if (attempt < 3) return { outcome: 'busy', retryAfterMs: 5 };
        taken.add(offer.shard_id);
        return { outcome: 'taken' };
      });
      keepPublishing([makeOffer({ shard: 'a' }), makeOffer({ shard: 'b' })], taken);
      await eventually(() => taken.size === 2);
    });

    it('delivers nothing while paused, and the rest after resume', async () => {
      const offers = range(10).map((index) => makeOffer({ shard: `s-${index}` }));
      const taken = new Set<string>();
      const pauses = new Set([4, 7]);
      let paused = true;
      let whilePaused = 0;
      const handle: OfferHandler = async (offer) => {
        if (paused) whilePaused += 1;
        taken.add(offer.shard_id);
        if (pauses.delete(taken.size)) {
          paused = true;
          subscription.pause();
        }
        return { outcome: 'taken' };
      };
      const subscription = await subscribe('runner-1', ['m'], handle, true);
      const resume = () => {
        paused = false;
        subscription.resume();
      };
      keepPublishing(offers, taken);
      resume();
      await eventually(() => taken.size === 4);
      // Somebody else gets an offer in the meantime: a transport that does not pause has had its chance to show it.
      const other = new Set<string>();
      await subscribe('runner-2', ['other'], async (offer) => {
        other.add(offer.shard_id);
        return { outcome: 'taken' };
      });
      keepPublishing([makeOffer({ shard: 'other', model: 'other' })], other);
      await eventually(() => other.size === 1);
      expect(taken.size).toBe(4);
      resume();
      await eventually(() => taken.size === 7);
      resume();
      await eventually(() => taken.size === offers.length);
      expect(whilePaused).toBe(0);
    });

    it('delivers nothing after close, and leaves the offers to others', async () => {
      let closed = false;
      let afterClose = 0;
      const first = await subscribe('runner-1', ['m'], async () => {
        if (closed) afterClose += 1;
        return { outcome: 'busy', retryAfterMs: 5 };
      });
      const taken = new Set<string>();
      keepPublishing([makeOffer({ shard: 'a' })], taken);
      await first.close();
      closed = true;
      await subscribe('runner-2', ['m'], async (offer) => {
        taken.add(offer.shard_id);
        return { outcome: 'taken' };
      });
      await eventually(() => taken.size === 1);
      expect(afterClose).toBe(0);
    });

    it('says that it is up once offers travel', async () => {
      const taken = new Set<string>();
      const subscription = await subscribe('runner-1', ['m'], async (offer) => {
        taken.add(offer.shard_id);
        return { outcome: 'taken' };
      });
      keepPublishing([makeOffer({ shard: 'a' })], taken);
      await eventually(() => taken.size === 1);
      await eventually(() => subscription.health().state === 'up');
      expect(transport.publisher.health()).toEqual({ state: 'up', reason: null });
    });
  });
}

/** Runs something again and again, a little apart, until stopped. */
class Repeater {
  #stopped = false;
  readonly #loop: Promise<void>;

  constructor(run: () => Promise<void>) {
    this.#loop = this.#repeat(run);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  async #repeat(run: () => Promise<void>): Promise<void> {
    while (!this.#stopped) {
      await run();
      await pause(20);
    }
  }
}

const pause = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs));

async function eventually(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + WITHIN_MS;
  while (!condition()) {
    if (performance.now() > deadline) expect.fail(`not within ${WITHIN_MS} ms: ${condition}`);
    await pause(5);
  }
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** The keys of a growing map, as a set that grows with it. */
const keysOf = (map: ReadonlyMap<string, unknown>): ReadonlySet<string> =>
  Object.assign(new Set<string>(), { has: (key: string) => map.has(key) });

function makeOffer(fields: { shard: string; model?: string; priority?: Offer['priority'] }): Offer {
  const model = fields.model ?? 'm';
  const priority = fields.priority ?? 'normal';
  return {
    shard_id: fields.shard,
    epoch: 0,
    lane: laneName(priority, model),
    model,
    priority,
    items: 256,
    job_id: 'job_1',
    offered_at_ms: 1_700_000_000_000,
  };
}
