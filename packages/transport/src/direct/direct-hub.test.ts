import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import { describe, expect, it } from 'vitest';
import { DirectHub } from './direct-hub.js';

function makeOffer(shardId: string, fields: Partial<Offer> = {}): Offer {
  const model = fields.model ?? 'm';
  const priority = fields.priority ?? 'normal';
  return {
    shard_id: shardId,
    epoch: 0,
    lane: laneName(priority, model),
    model,
    priority,
    items: 1,
    job_id: 'job_1',
    offered_at_ms: 0,
    ...fields,
  };
}

const poll = (
  hub: DirectHub,
  fields: { models?: string[]; max?: number; waitMs?: number; signal?: AbortSignal } = {},
) => hub.poll({ runnerId: 'runner-1', models: ['m'], max: 8, waitMs: 5_000, ...fields });

const idsOf = (offers: readonly Offer[]) => offers.map((offer) => offer.shard_id);

describe('the direct hub', () => {
  it('answers a waiting poll in the moment an offer is published', async () => {
    const hub = new DirectHub();
    const waiting = poll(hub);
    await hub.publish({ offers: [makeOffer('a')] });
    expect(idsOf(await waiting)).toEqual(['a']);
  });

  it('hands high priorities out first', async () => {
    const hub = new DirectHub();
    await hub.publish({
      offers: [
        makeOffer('low', { priority: 'low' }),
        makeOffer('normal'),
        makeOffer('high', { priority: 'high' }),
      ],
    });
    expect(idsOf(await poll(hub, { max: 2 }))).toEqual(['high', 'normal']);
    expect(idsOf(await poll(hub))).toEqual(['low']);
  });

  it('shares a batch between the runners that wait', async () => {
    const hub = new DirectHub();
    const waiting = [poll(hub), poll(hub)];
    await hub.publish({ offers: ['a', 'b', 'c', 'd'].map((id) => makeOffer(id)) });
    expect((await Promise.all(waiting)).map((offers) => offers.length)).toEqual([2, 2]);
  });

  it('never gives a poll more than it wants', async () => {
    const hub = new DirectHub();
    const waiting = poll(hub, { max: 1 });
    await hub.publish({ offers: [makeOffer('a'), makeOffer('b')] });
    expect(await waiting).toHaveLength(1);
    expect(await poll(hub)).toHaveLength(1);
  });

  it('keeps only the newest offer of a shard', async () => {
    const hub = new DirectHub();
    await hub.publish({ offers: [makeOffer('a', { epoch: 1 })] });
    await hub.publish({ offers: [makeOffer('a', { epoch: 2 })] });
    expect((await poll(hub)).map((offer) => offer.epoch)).toEqual([2]);
  });

  it('keeps a bounded number of offers that nobody waits for', async () => {
    const hub = new DirectHub();
    const offers = Array.from({ length: 5_000 }, (_, index) => makeOffer(`s-${index}`));
    await hub.publish({ offers });
    expect((await poll(hub, { max: 5_000 })).length).toBeLessThan(5_000);
  });

  it('answers with nothing when the time of a poll is over', async () => {
    expect(await poll(new DirectHub(), { waitMs: 1 })).toEqual([]);
  });

  it('gives a poll whose runner went away nothing', async () => {
    const hub = new DirectHub();
    const gone = new AbortController();
    const waiting = poll(hub, { signal: gone.signal });
    gone.abort();
    await hub.publish({ offers: [makeOffer('a')] });
    expect(await waiting).toEqual([]);
    expect(idsOf(await poll(hub))).toEqual(['a']);
  });

  it('says who waits, and calls when somebody begins to', async () => {
    const hub = new DirectHub();
    let calls = 0;
    hub.demand.onWaiting(() => {
      calls += 1;
    });
    const waiting = poll(hub, { models: ['m', 'n'], max: 3 });
    expect(calls).toBe(1);
    expect(hub.demand.waiting()).toMatchObject([{ runnerId: 'runner-1', models: ['m', 'n'], max: 3 }]);
    await hub.close();
    expect(await waiting).toEqual([]);
    expect(hub.demand.waiting()).toEqual([]);
    expect(hub.health().state).toBe('down');
  });
});

it('gives a runner of one project offers of that project only', async () => {
  const hub = new DirectHub();
  const bound = hub.poll({ runnerId: 'bound', models: ['m'], projectId: 'a', max: 8, waitMs: 5_000 });
  await hub.publish({ offers: [makeOffer('b', { project_id: 'b' }), makeOffer('none')] });
  await hub.publish({ offers: [makeOffer('a', { project_id: 'a' })] });
  expect(idsOf(await bound)).toEqual(['a']);
  expect(idsOf(await poll(hub))).toEqual(['b', 'none']);
});
