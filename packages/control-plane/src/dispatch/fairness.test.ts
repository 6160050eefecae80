import type { Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher } from '@batch-infer/transport';
import { afterEach, describe, expect, it } from 'vitest';
import type { JobRecord } from '../ports/records.js';
import { openUseCases, RecordingPublisher, reportOf, type UseCases } from '../use-cases-fixture.js';

/** I9 in virtual time: the real dispatcher, ledger, claims and settles; engines that take a fixed time a shard. */

const SHARD_MS = 100;
const SLOTS = 4;

let cases: UseCases;
afterEach(() => cases.close());

/** Offers in the order of their publishing, as a lane of Kafka has them. */
class Pushed extends RecordingPublisher {
  take(): Offer | undefined {
    return this.offers.shift();
  }
}

/** Offers on demand: never more than there are free slots. */
class Demanded extends RecordingPublisher implements OfferPublisher {
  free = 0;
  readonly demand = {
    waiting: () => (this.free === 0 ? [] : [{ runnerId: 'runner-1', models: ['m'], max: this.free }]),
    onWaiting: () => {},
    onReturned: () => {},
    handedTo: () => [],
  };

  take(): Offer | undefined {
    return this.offers.shift();
  }
}

interface Running {
  readonly endsAtMs: number;
  readonly lease: Awaited<ReturnType<UseCases['take']>>;
}

/** A runner with some slots, each busy with one shard at a time. */
class Engine {
  readonly #publisher: Pushed | Demanded;
  #running: Running[] = [];

  constructor(publisher: Pushed | Demanded) {
    this.#publisher = publisher;
  }

  /** Fills the free slots, then goes to the time when the next one is free. */
  async step(): Promise<void> {
    if (this.#publisher instanceof Demanded) this.#publisher.free = SLOTS - this.#running.length;
    while (await cases.dispatcher.tick());
    while (this.#running.length < SLOTS) {
      const offer = this.#publisher.take();
      if (offer === undefined) break;
      const lease = await cases.take(offer);
      this.#running.push({ endsAtMs: cases.clock.nowMs() + SHARD_MS, lease });
    }
    const nextMs = Math.min(...this.#running.map(({ endsAtMs }) => endsAtMs));
    cases.clock.advance(nextMs - cases.clock.nowMs());
    const ended = this.#running.filter(({ endsAtMs }) => endsAtMs <= nextMs);
    this.#running = this.#running.filter(({ endsAtMs }) => endsAtMs > nextMs);
    for (const { lease } of ended) await cases.settleItems(lease, [lease.first_index]);
  }

  async runUntilEnded(job: JobRecord): Promise<number> {
    const begunAtMs = cases.clock.nowMs();
    while ((await cases.getJob(job)).state !== 'finalizing') await this.step();
    return cases.clock.nowMs() - begunAtMs;
  }
}

async function openEngine(publisher: Pushed | Demanded): Promise<Engine> {
  cases = await openUseCases({ publisher });
  const engine = { id: 'engine-0', models: ['m'], healthy: true, window: SLOTS, in_flight: 0, problem: null };
  const report = { ...reportOf('runner-1'), engines: [engine] };
  await cases.ledger.saveRunner({ report, nowMs: cases.clock.nowMs() });
  cases.signals.on('shard-claimed', (shardId) => cases.dispatcher.claimed(shardId));
  return new Engine(publisher);
}

const jobOf = (projectId: string, shards: number) =>
  cases.createJob({ projectId, items: shards, shardItems: 1 });

const transports = [
  ['direct', () => new Demanded(), 0],
  // What stands in the lane when the small one comes is ahead of it.
  ['pushed', () => new Pushed(), 8 / SLOTS],
] as const;

describe.each(transports)(
  'I9 over a %s transport: two projects, 1:1000 in backlog',
  (_, open, aheadShards) => {
    const SMALL = 8;
    const soloMs = (SMALL / SLOTS) * SHARD_MS;

    it('the small one alone takes its time', async () => {
      const engine = await openEngine(open());
      expect(await engine.runUntilEnded(await jobOf('small', SMALL))).toBe(soloMs);
    });

    it('the small one ends within twice that when both begin together', async () => {
      const engine = await openEngine(open());
      await jobOf('large', SMALL * 1_000);
      cases.clock.advance(1);
      expect(await engine.runUntilEnded(await jobOf('small', SMALL))).toBeLessThanOrEqual(2 * soloMs);
    });

    it('and when it comes to a large one that runs, but for what is running or on its way', async () => {
      const engine = await openEngine(open());
      await jobOf('large', SMALL * 1_000);
      for (let step = 0; step < 5; step += 1) await engine.step();
      const small = await jobOf('small', SMALL);
      const aheadMs = (1 + aheadShards) * SHARD_MS;
      expect(await engine.runUntilEnded(small)).toBeLessThanOrEqual(2 * soloMs + aheadMs);
    });
  },
);
