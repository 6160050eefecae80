import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher } from '@batch-infer/transport';
import { DirectHub, DirectSubscriber } from '@batch-infer/transport/direct';
import { describe, expect, it } from 'vitest';
import { startDirectPollServer } from '../direct-poll-server.js';
import { transportConformance } from '../transport-conformance.js';
import { chaosPublisher, chaosSubscriber } from './index.js';

for (const seed of [1, 2, 3]) {
  transportConformance(`direct under chaos, seed ${seed}`, async () => {
    const hub = new DirectHub();
    const server = await startDirectPollServer(hub);
    return {
      publisher: chaosPublisher(hub, { seed, drop: 0.3, double: 0.2, replay: 0.2 }),
      subscriber: (runnerId) =>
        chaosSubscriber(new DirectSubscriber({ serverUrl: server.url, runnerId, waitMs: 5_000 }), {
          seed: seed + 100,
          drop: 0.2,
          double: 0.2,
        }),
      close: async () => {
        await hub.close();
        await server.close();
      },
    };
  });
}

describe('the chaos publisher', () => {
  const offers: Offer[] = Array.from({ length: 200 }, (_, index) => ({
    shard_id: `s-${index}`,
    epoch: 0,
    lane: laneName('normal', 'm'),
    model: 'm',
    priority: 'normal',
    items: 1,
    job_id: 'job_1',
    offered_at_ms: 0,
  }));

  async function publishedWith(seed: number): Promise<string[]> {
    const published: string[] = [];
    const sink: OfferPublisher = {
      publish: async (params) => void published.push(...params.offers.map((offer) => offer.shard_id)),
      health: () => ({ state: 'up', reason: null }),
      close: async () => {},
    };
    const publisher = chaosPublisher(sink, { seed, drop: 0.3, double: 0.2, replay: 0.2 });
    await publisher.publish({ offers });
    return published;
  }

  it('loses, doubles and shuffles', async () => {
    const published = await publishedWith(7);
    const distinct = new Set(published);
    expect(distinct.size).toBeLessThan(offers.length);
    expect(published.length).toBeGreaterThan(distinct.size);
    expect(published).not.toEqual([...published].sort());
  });

  it('does the same again with the same seed', async () => {
    expect(await publishedWith(7)).toEqual(await publishedWith(7));
    expect(await publishedWith(8)).not.toEqual(await publishedWith(7));
  });
});
