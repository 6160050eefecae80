import { chaosPublisher } from '@batch-infer/testkit/chaos-transport/index';
import { DirectHub } from '@batch-infer/transport/direct';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openUseCases, RecordingPublisher, reportOf, type UseCases } from '../use-cases-fixture.js';
import { DIRECT_LANE_WINDOW } from './dispatcher.js';

let cases: UseCases;

afterEach(() => cases.close());

describe('over a pushing transport', () => {
  beforeEach(async () => {
    cases = await openUseCases();
  });

  it.each([1, 10])('I8: bounds the offers of a lane, the same with %i × the backlog', async (times) => {
    const report = reportOf('runner-1');
    const engine = { id: 'engine-0', models: ['m'], healthy: true, window: 16, in_flight: 0, problem: null };
    await cases.ledger.saveRunner({ report: { ...report, engines: [engine] }, nowMs: cases.clock.nowMs() });
    await cases.createJob({ items: 100 * times, shardItems: 1 });
    await cases.createJob({ items: 100 * times, shardItems: 1, model: 'other' });
    await cases.ledger.saveRunner({ report: reportOf('runner-2', ['other']), nowMs: cases.clock.nowMs() });
    for (let tick = 0; tick < 5; tick += 1) await cases.dispatcher.tick();
    const { offers } = cases.recorder;
    expect(offers.filter(({ model }) => model === 'm')).toHaveLength(2 * 16);
    expect(offers.filter(({ model }) => model === 'other')).toHaveLength(8);

    for (const offer of offers.filter(({ model }) => model === 'm').slice(0, 3)) await cases.take(offer);
    await cases.dispatcher.tick();
    expect(offers.filter(({ model }) => model === 'm')).toHaveLength(2 * 16 + 3);
  });

  it('lanes exist only for models that a live runner serves, however many names clients invent', async () => {
    for (let index = 0; index < 50; index += 1)
      await cases.createJob({ items: 1, model: `made-up-${index}` });
    await cases.createJob({ items: 1 });
    await cases.dispatcher.tick();
    expect(cases.recorder.offers.map(({ model }) => model)).toEqual(['m']);
    await cases.ledger.saveRunner({
      report: reportOf('runner-2', ['made-up-7']),
      nowMs: cases.clock.nowMs(),
    });
    await cases.dispatcher.tick();
    expect(cases.recorder.offers.map(({ model }) => model)).toEqual(['m', 'made-up-7']);
    cases.clock.advance(cases.config.offerTtlMs + cases.config.leaseMs);
    await cases.dispatcher.tick();
    expect(cases.recorder.offers.map(({ model }) => model)).toEqual(['m', 'made-up-7', 'm']);
  });

  it('a job that waited for a budget is offered when the one before it has ended, though nothing else is ready', async () => {
    await cases.ledger.setProjectLimits({ projectId: 'default', change: { maxRunningJobs: 1 } });
    const first = await cases.createJob({ items: 2 });
    cases.clock.advance(1);
    const second = await cases.createJob({ items: 2 });
    for (let tick = 0; tick < 3; tick += 1) await cases.dispatcher.tick();
    const { offers } = cases.recorder;
    expect(offers.map(({ job_id }) => job_id)).toEqual([first.id]);
    const [offer] = offers;
    if (!offer) throw new Error('nothing was offered');
    await cases.settleItems(await cases.take(offer), [0, 1]);
    await cases.dispatcher.tick();
    expect(offers.map(({ job_id }) => job_id)).toEqual([first.id, second.id]);
  });

  it('offers again what nobody claimed in its time, and only that', async () => {
    await cases.createJob({ items: 3, shardItems: 1 });
    await cases.dispatcher.tick();
    const [claimed] = cases.recorder.offers;
    if (!claimed) throw new Error('nothing was offered');
    await cases.take(claimed);
    await cases.dispatcher.tick();
    expect(cases.recorder.offers).toHaveLength(3);
    cases.clock.advance(cases.config.offerTtlMs + 1);
    await cases.dispatcher.tick();
    const again = cases.recorder.offers.slice(3).map(({ shard_id }) => shard_id);
    expect(again).toHaveLength(2);
    expect(again).not.toContain(claimed.shard_id);
  });

  it('takes the offers of a failed publish back, so that they travel as soon as they can', async () => {
    await cases.createJob({ items: 3, shardItems: 1 });
    cases.recorder.down = true;
    await expect(cases.dispatcher.tick()).rejects.toThrow('away');
    cases.recorder.down = false;
    await cases.dispatcher.tick();
    expect(cases.recorder.offers).toHaveLength(3);
  });

  it('offers high priorities first, and keeps the others back until they are offered', async () => {
    await cases.createJob({ items: 3, shardItems: 1, priority: 'low' });
    cases.clock.advance(1);
    const large = await cases.createJob({ items: 2, shardItems: 1 });
    cases.clock.advance(1);
    const urgent = await cases.createJob({ items: 1, shardItems: 1, expiresInMs: 60_000 });
    cases.clock.advance(1);
    const high = await cases.createJob({ items: 1, shardItems: 1, priority: 'high' });
    await cases.dispatcher.tick();
    const order = cases.recorder.offers.map(({ job_id }) => job_id);
    expect(order.slice(0, 4)).toEqual([high.id, urgent.id, large.id, large.id]);
    expect(cases.recorder.offers.slice(-3).map(({ priority }) => priority)).toEqual(['low', 'low', 'low']);
  });
});

describe('over the direct transport', () => {
  let hub: DirectHub;

  beforeEach(async () => {
    hub = new DirectHub();
    cases = await openUseCases({ publisher: hub });
  });

  const poll = (models: string[], max: number, waitMs = 5_000) =>
    hub.poll({ runnerId: 'runner-1', models, max, waitMs });

  it('takes no offer from the ledger that nobody asks for', async () => {
    await cases.createJob({ items: 4, shardItems: 1 });
    await cases.dispatcher.tick();
    const [lane] = await cases.ledger.backlog();
    expect(lane).toMatchObject({ readyShards: 4, offeredShards: 0 });
  });

  it('gives a waiting runner what it wants, of the models it serves', async () => {
    await cases.createJob({ items: 4, shardItems: 1 });
    await cases.createJob({ items: 4, shardItems: 1, model: 'other' });
    const waiting = poll(['m'], 3);
    await cases.dispatcher.tick();
    const offers = await waiting;
    expect(offers.map(({ model }) => model)).toEqual(['m', 'm', 'm']);
    const [lane] = (await cases.ledger.backlog()).filter(({ model }) => model === 'm');
    expect(lane).toMatchObject({ offeredShards: 3 });
  });

  it('I8: bounds what a runner that never claims can hold back', async () => {
    await cases.createJob({ items: DIRECT_LANE_WINDOW * 2, shardItems: 1 });
    let given = 0;
    for (let round = 0; round < 5; round += 1) {
      const waiting = poll(['m'], 256, 1);
      await cases.dispatcher.tick();
      given += (await waiting).length;
    }
    expect(given).toBe(DIRECT_LANE_WINDOW);
  });

  it('offers again at once what a broken poll was given', async () => {
    await cases.createJob({ items: 1 });
    hub.demand.onReturned((offers) => void cases.dispatcher.withdraw(offers));
    const broken = poll(['m'], 1);
    await cases.dispatcher.tick();
    hub.giveBack(await broken);
    const next = poll(['m'], 1);
    await cases.dispatcher.tick();
    expect(await next).toHaveLength(1);
  });
});

describe('I4: the transport is not trusted', () => {
  it.each([1, 2, 3, 4, 5])(
    'every shard is claimed once under loss, doubles, shuffles and replays (seed %i)',
    async (seed) => {
      const recorder = new RecordingPublisher();
      cases = await openUseCases({
        publisher: chaosPublisher(recorder, { seed, drop: 0.4, double: 0.3, replay: 0.3 }),
      });
      const job = await cases.createJob({ items: 60, shardItems: 2 });
      const claimed = new Map<string, number>();
      for (let round = 0; round < 60; round += 1) {
        await cases.dispatcher.tick();
        for (const offer of recorder.offers.splice(0)) {
          const answer = await cases.claim.run({
            runner_id: 'r',
            shard_id: offer.shard_id,
            epoch: offer.epoch,
          });
          if (answer.outcome !== 'claimed') continue;
          const { lease } = answer;
          claimed.set(lease.shard_id, (claimed.get(lease.shard_id) ?? 0) + 1);
          await cases.settleItems(lease, [lease.first_index, lease.first_index + 1]);
        }
        if (claimed.size === 30) break;
        cases.clock.advance(cases.config.offerTtlMs + 1);
      }
      expect(claimed.size).toBe(30);
      expect([...claimed.values()].every((times) => times === 1)).toBe(true);
      expect(await cases.getJob(job)).toMatchObject({ state: 'finalizing', succeeded: 60 });
    },
  );
});
