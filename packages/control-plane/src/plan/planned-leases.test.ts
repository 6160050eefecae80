import { indexesFromBase64, maskFromBase64, positionsOf } from '@batch-infer/contracts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ItemReader } from '../jobs/item-reader.js';
import { openUseCases, type UseCases } from '../use-cases-fixture.js';

let cases: UseCases;
beforeEach(async () => {
  cases = await openUseCases();
});
afterEach(() => cases.close());

async function takeNext() {
  await cases.dispatcher.tick();
  const offer = cases.recorder.offers.shift();
  if (!offer) throw new Error('nothing was offered');
  return await cases.take(offer);
}

describe('the lease of a shard in plan order', () => {
  it('names the items that its lines hold', async () => {
    await cases.createJob({ items: 10, shardItems: 6, backwards: true });
    const lease = await takeNext();
    expect([...indexesFromBase64(lease.indexes ?? '')]).toEqual([9, 8, 7, 6, 5, 4]);
    const { signal } = new AbortController();
    const { lines } = await cases.lines.run({ shardId: lease.shard_id, epoch: lease.epoch, signal });
    const ids = Buffer.concat(await lines.toArray())
      .toString()
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { custom_id: string }).custom_id);
    expect(ids).toEqual(['id-9', 'id-8', 'id-7', 'id-6', 'id-5', 'id-4']);
  });

  it('takes outcomes of its own items only, and tells the next holder where they stand', async () => {
    const job = await cases.createJob({ items: 10, shardItems: 6, backwards: true });
    const lease = await takeNext();
    expect(await cases.settleItems(lease, [3])).toMatchObject({ accepted: 0, refused: [{ line: 0 }] });
    expect(await cases.settleItems(lease, [4, 8])).toMatchObject({ accepted: 2 });
    expect(await cases.settleItems(lease, [8, 9], false)).toMatchObject({ accepted: 1, repeated: 1 });
    await cases.release.run({ shardId: lease.shard_id, epoch: lease.epoch, reason: 'drain' });
    cases.recorder.offers.length = 0;
    const again = await takeNext();
    expect(positionsOf(maskFromBase64(again.done_mask))).toEqual([0, 1, 5]);
    const text = await cases.metrics.registry.getSingleMetricAsString('batch_infer_items_ended_total');
    expect(text).toMatch(/status="succeeded"[^\n]* 2/);
    expect(await cases.getJob(job)).toMatchObject({ succeeded: 2, failed: 1 });
  });

  it('I10: fails the one item that kills its runners, by its own name', async () => {
    const job = await cases.createJob({ items: 8, shardItems: 8, backwards: true });
    const poison = 2;
    for (let round = 0; round < 40; round += 1) {
      await cases.dispatcher.tick();
      for (const offer of cases.recorder.offers.splice(0)) {
        const lease = await cases.take(offer);
        const indexes = [...indexesFromBase64(lease.indexes ?? '')];
        const done = positionsOf(maskFromBase64(lease.done_mask)).map((position) => indexes[position]);
        const open = indexes.filter((index) => !done.includes(index));
        // The runner dies with the item; what it had settled before stays.
        if (!open.includes(poison)) await cases.settleItems(lease, open);
      }
      cases.clock.advance(cases.config.leaseMs + 1);
      await cases.sweep();
      if ((await cases.getJob(job)).state === 'finalizing') break;
    }
    expect(await cases.getJob(job)).toMatchObject({ state: 'finalizing', succeeded: 7, failed: 1 });
    const reader = new ItemReader(cases.ledger, cases.blobs, cases.clock);
    const wanted = { succeeded: false, failed: true, cancelled: false, expired: false };
    const failed: unknown[] = [];
    for await (const items of reader.inInputOrder({ job: await cases.getJob(job), fromIndex: 0, wanted }))
      failed.push(...items);
    expect(failed).toMatchObject([
      { index: poison, header: { c: `id-${poison}`, e: { code: 'worker_lost' } } },
    ]);
  });
});
