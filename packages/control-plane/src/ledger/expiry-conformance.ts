import { countBits } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { ShardRecord } from '../ports/records.js';
import { LEASE_MS, type LedgerWorld, openIndices, range } from './world-conformance.js';

/** Leases that end without a settle (I6, I10), and outages (I13). */
export function expiryConformance(world: () => LedgerWorld): void {
  describe('a lease that ends', () => {
    it('I6: gives only what was not settled to the next runner', async () => {
      const job = await world().job({ shards: [4] });
      const lease = await world().claimNext(job);
      await world().settle(lease, [1, 3]);
      world().nowMs += LEASE_MS - 1;
      expect((await world().expire()).released).toBe(0);
      world().nowMs += 1;
      expect(await world().expire()).toMatchObject({
        released: 1,
        bisected: 0,
        poisoned: [],
        jobIds: [job.id],
      });
      const next = await world().claimNext(job, 'run_two');
      expect(next).toMatchObject({ id: lease.id, epoch: 2, lostLeases: 1 });
      expect(openIndices(next)).toEqual([0, 2]);
      expect(await world().settle(lease, [0])).toEqual({ outcome: 'lost' });
    });

    it('by release is ready at once and counts as no loss; a stale release changes nothing', async () => {
      const job = await world().job({ shards: [2] });
      const lease = await world().claimNext(job);
      const release = (epoch: number) =>
        world().ledger.releaseShard({ shardId: lease.id, epoch, nowMs: world().nowMs });
      expect([await release(0), await release(1), await release(1)]).toEqual([false, true, false]);
      expect(await world().ledger.getShard({ shardId: lease.id })).toMatchObject({
        state: 'ready',
        lostLeases: 0,
        runnerId: null,
        offeredAtMs: null,
      });
      expect(await world().offers(1)).toMatchObject([{ id: lease.id, epoch: 1 }]);
    });

    it('with its runner expires at once', async () => {
      const job = await world().job({ shards: [1, 1, 1] });
      await world().claimNext(job, 'run_dead');
      await world().claimNext(job, 'run_dead');
      await world().claimNext(job, 'run_alive');
      const { ledger, nowMs } = world();
      expect(await ledger.expireRunner({ runnerId: 'run_dead', nowMs })).toBe(2);
      expect((await world().expire()).released).toBe(2);
      expect((await world().shards(job)).map(({ state }) => state)).toEqual(['ready', 'ready', 'leased']);
    });

    it('I10: is bisected after two losses, until the item that kills its runners is alone and fails', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [64, 3] });
      const poison = 37;
      const poisoned: ShardRecord[] = [];
      let losses = 0;
      for (let round = 0; round < 400 && poisoned.length === 0; round += 1) {
        const ready = await world().offers(1, { staleBeforeMs: world().nowMs + 1 });
        const [shard] = ready;
        if (shard === undefined) break;
        const lease = await world().claim(shard);
        const open = openIndices(lease);
        expect(lease.skip, 'items before the part in its byte range').toBe(
          lease.first - (lease.ordinal === 0 ? 0 : 64),
        );
        expect([lease.offset, lease.bytes]).toEqual(lease.ordinal === 0 ? [0, 6_400] : [6_400, 300]);
        if (!open.includes(poison)) {
          await world().settleAll(lease);
          continue;
        }
        losses += 1;
        world().nowMs += LEASE_MS;
        poisoned.push(...(await world().expire()).poisoned);
      }
      expect(poisoned).toMatchObject([{ first: poison, count: 1, state: 'ready' }]);
      expect(losses).toBeLessThanOrEqual(2 + 6);
      while ((await world().offers(10)).length > 0);
      expect(await world().offers(10, { staleBeforeMs: world().nowMs + 1 }), 'it is never offered').toEqual(
        (await world().shards(job)).filter((shard) => shard.state === 'ready' && shard.first !== poison),
      );
      expect((await world().expire()).poisoned, 'it is named again').toHaveLength(1);
      await world().runAll(job, [poison]);
      expect((await world().expire()).poisoned).toEqual([]);
      expect(await world().current(job)).toMatchObject({ state: 'finalizing', succeeded: 66, failed: 1 });
      expect(await ledger.countOrdinals({ jobId: job.id })).toBe(2);
    });

    it('keeps what had ended when it is bisected', async () => {
      const job = await world().job({ shards: [8] });
      for (const settled of [[0, 1, 2], [5]]) {
        await world().settle(await world().claimNext(job), settled, [5]);
        world().nowMs += LEASE_MS;
        await world().expire();
      }
      const parts = await world().shards(job);
      expect(parts.map(({ first, count, skip }) => [first, count, skip])).toEqual([
        [0, 6, 0],
        [6, 2, 6],
      ]);
      expect(parts.map(openIndices)).toEqual([
        [3, 4],
        [6, 7],
      ]);
      expect(parts.map(({ badMask }) => countBits(badMask))).toEqual([1, 0]);
      expect(parts.map(({ lostLeases }) => lostLeases)).toEqual([2, 2]);
    });

    it('fails a single item only after three losses', async () => {
      const job = await world().job({ shards: [1] });
      for (const loss of [1, 2, 3]) {
        const lease = await world().claimNext(job);
        world().nowMs += LEASE_MS;
        expect((await world().expire()).poisoned).toHaveLength(loss === 3 ? 1 : 0);
        expect(await world().settle(lease, [0])).toEqual({ outcome: 'lost' });
      }
    });

    it('leaves no poisoned shard behind when its job is stopped', async () => {
      const job = await world().job({ shards: [1] });
      for (const _ of [1, 2, 3]) {
        await world().claimNext(job);
        world().nowMs += LEASE_MS;
        await world().expire();
      }
      await world().stop(job);
      expect((await world().expire()).poisoned).toEqual([]);
      expect(await world().finish(job, 'cancelled')).toMatchObject({ cancelled: 1 });
    });

    it('is ended by one of two sweepers', async () => {
      const job = await world().job({ shards: range(0, 10).map(() => 2) });
      for (const _ of range(0, 10)) await world().claimNext(job);
      world().nowMs += LEASE_MS;
      const swept = await Promise.all([world().expire(), world().expire(), world().expire(6)]);
      expect(swept.reduce((sum, { released }) => sum + released, 0)).toBe(10);
      expect((await world().shards(job)).map(({ lostLeases }) => lostLeases)).toEqual(
        range(0, 10).map(() => 1),
      );
    });
  });

  describe('I13: after an outage of the ledger', () => {
    it('every lease has a full time and every open job the lost time, given back once', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [1, 1] });
      const ended = await world().job({ shards: [1] });
      await world().runAll(ended);
      const finished = await world().finish(ended, 'succeeded');
      const lease = await world().claimNext(job);
      const outageMs = 3_600_000;
      world().nowMs += outageMs;
      const outage = { leaseMs: LEASE_MS, outageMs, nowMs: world().nowMs };
      await Promise.all([ledger.forgiveOutage(outage), ledger.forgiveOutage(outage)]);
      expect((await world().expire()).released).toBe(0);
      expect((await ledger.getShard({ shardId: lease.id }))?.leaseUntilMs).toBe(world().nowMs + LEASE_MS);
      expect((await world().current(job)).expiresAtMs).toBe(job.expiresAtMs + outageMs);
      expect(await world().current(ended)).toEqual(finished);
      world().nowMs += 1_000;
      await ledger.forgiveOutage({ ...outage, nowMs: world().nowMs });
      expect((await world().current(job)).expiresAtMs).toBe(job.expiresAtMs + outageMs + 1_000);
    });
  });
}
