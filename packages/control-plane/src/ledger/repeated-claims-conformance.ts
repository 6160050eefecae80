import { describe, expect, it } from 'vitest';
import { LEASE_MS, type LedgerWorld } from './world-conformance.js';

/** Claims whose answer was lost, leases that are given back as lost, and what a renewal tells. */
export function repeatedClaimsConformance(world: () => LedgerWorld): void {
  const claimAt = (shardId: string, epoch: number, runnerId: string) =>
    world().ledger.claimShard({ shardId, epoch, runnerId, leaseMs: LEASE_MS, nowMs: world().nowMs });

  describe('a claim that is made again by the same runner', () => {
    it('gives the same lease, which costs none, as long as that runner holds it', async () => {
      const job = await world().job({ shards: [2] });
      const [shard] = await world().shards(job);
      const shardId = shard?.id ?? '';
      const first = await claimAt(shardId, 0, 'run_one');
      world().nowMs += LEASE_MS / 2;
      for (let times = 0; times < 5; times += 1) {
        const again = await claimAt(shardId, 0, 'run_one');
        expect(again).toMatchObject({
          outcome: 'claimed',
          shard: { epoch: 1, lostLeases: 0, leaseUntilMs: world().nowMs + LEASE_MS },
        });
      }
      expect(first).toMatchObject({ outcome: 'claimed', shard: { epoch: 1 } });
      expect(await claimAt(shardId, 0, 'run_two')).toEqual({ outcome: 'refused', reason: 'stale' });
      expect(await claimAt(shardId, 1, 'run_one')).toEqual({ outcome: 'refused', reason: 'stale' });
    });

    it('is refused when the lease was given back, lost, or its shard is done', async () => {
      const job = await world().job({ shards: [1, 1, 1] });
      const [released, lost, done] = await world().shards(job);
      if (released === undefined || lost === undefined || done === undefined) throw new Error('no shards');
      for (const { id } of [released, lost, done]) await claimAt(id, 0, 'run_one');
      await world().ledger.releaseShard({ shardId: released.id, epoch: 1, nowMs: world().nowMs });
      await world().settleAll({ ...done, epoch: 1 });
      world().nowMs += LEASE_MS;
      await world().expire();
      for (const { id } of [released, lost, done]) {
        expect(await claimAt(id, 0, 'run_one')).toEqual({ outcome: 'refused', reason: 'stale' });
      }
    });
  });

  it('a shard that is given back as lost counts as a lost lease', async () => {
    const job = await world().job({ shards: [1] });
    const lease = await world().claimNext(job);
    const giveBack = { shardId: lease.id, epoch: lease.epoch, isLost: true, nowMs: world().nowMs };
    expect(await world().ledger.releaseShard(giveBack)).toBe(true);
    await world().expire();
    expect(await world().shards(job)).toMatchObject([{ state: 'ready', lostLeases: 1 }]);
    expect(await world().ledger.releaseShard(giveBack)).toBe(false);
  });

  it('a renewal tells when the job expires, as it is now', async () => {
    const job = await world().job({ shards: [1] });
    const lease = await world().claimNext(job);
    const renew = () =>
      world().ledger.renewLeases({
        runnerId: lease.runnerId ?? '',
        leases: [{ shardId: lease.id, epoch: lease.epoch }],
        leaseMs: LEASE_MS,
        nowMs: world().nowMs,
      });
    expect(await renew()).toMatchObject([{ status: 'held', expiresAtMs: job.expiresAtMs }]);
    await world().ledger.forgiveOutage({ leaseMs: LEASE_MS, outageMs: 60_000, nowMs: world().nowMs });
    expect(await renew()).toMatchObject([{ status: 'held', expiresAtMs: job.expiresAtMs + 60_000 }]);
  });
}
