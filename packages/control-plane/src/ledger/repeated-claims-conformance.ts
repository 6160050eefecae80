import { describe, expect, it } from 'vitest';
import { LEASE_MS, type LedgerWorld, runnerReport } from './world-conformance.js';

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

  describe('a lease', () => {
    it('is its key’s: another one neither claims it again, nor renews it, nor gives it back', async () => {
      const job = await world().job({ shards: [2] });
      const shardId = (await world().shards(job))[0]?.id ?? '';
      const { ledger } = world();
      const claimWith = (keyId: string | null) =>
        ledger.claimShard({
          ...{ shardId, epoch: 0, runnerId: 'run_one', keyId },
          ...{ leaseMs: LEASE_MS, nowMs: world().nowMs },
        });
      const renewWith = async (keyId: string | null) => {
        const leases = [{ shardId, epoch: 1 }];
        const params = { runnerId: 'run_one', keyId, leases, leaseMs: LEASE_MS, nowMs: world().nowMs };
        return (await ledger.renewLeases(params))[0]?.status;
      };
      const releaseWith = (keyId: string | null) =>
        ledger.releaseShard({ shardId, epoch: 1, keyId, nowMs: world().nowMs });
      expect(await claimWith('key_a')).toMatchObject({ outcome: 'claimed', shard: { holderKeyId: 'key_a' } });
      expect(await claimWith('key_b')).toEqual({ outcome: 'refused', reason: 'stale' });
      expect(await claimWith('key_a')).toMatchObject({ outcome: 'claimed', shard: { epoch: 1 } });
      expect([await renewWith('key_a'), await renewWith('key_b'), await renewWith(null)]).toEqual([
        'held',
        'lost',
        'held',
      ]);
      expect([await releaseWith('key_b'), await releaseWith('key_a')]).toEqual([false, true]);
      // What is settled twice is settled by the same key, also after the lease.
      expect(await ledger.getShard({ shardId })).toMatchObject({ holderKeyId: 'key_a' });
    });

    it('that was claimed without a key is checked for none', async () => {
      const job = await world().job({ shards: [1] });
      const lease = await world().claimNext(job);
      expect(lease.holderKeyId).toBeNull();
      const { ledger, nowMs } = world();
      const params = { shardId: lease.id, epoch: lease.epoch, keyId: 'key_b', nowMs };
      const renewed = await ledger.renewLeases({
        ...{ runnerId: lease.runnerId ?? '', keyId: 'key_b', leases: [params] },
        ...{ leaseMs: LEASE_MS, nowMs },
      });
      expect(renewed).toMatchObject([{ status: 'held' }]);
      expect(await ledger.releaseShard(params)).toBe(true);
    });
  });

  it('a runner is its key while it lives; the successor of its key takes its place', async () => {
    const { ledger, nowMs } = world();
    const save = (keyId: string | null, more: { projectId?: string; atMs?: number } = {}) =>
      ledger.saveRunner({
        report: runnerReport('run_one'),
        identity: { keyId, projectId: more.projectId ?? null },
        ...{ liveAfterMs: (more.atMs ?? nowMs) - LEASE_MS, nowMs: more.atMs ?? nowMs },
      });
    const key = (id: string) => ({
      ...{ id, projectId: world().project, hash: id, name: '', scopes: ['runner' as const] },
      ...{ createdAtMs: nowMs, expiresAtMs: null, revokedAtMs: null, rotatedTo: null, lastUsedAtMs: null },
    });
    await ledger.createApiKey({ key: key('key_a') });
    const successor = key('key_c');
    await ledger.rotateApiKey({ id: 'key_a', projectId: null, successor, endsAtMs: nowMs + 1, nowMs });
    expect([await save('key_a'), await save('key_b'), await save('key_a')]).toEqual([
      'saved',
      'taken',
      'saved',
    ]);
    expect([await save('key_c'), await save('key_a')]).toEqual(['saved', 'taken']);
    expect(await save('key_b', { projectId: 'proj_two', atMs: nowMs + LEASE_MS })).toBe('saved');
    const seen = async (projectId: string | null) =>
      (await ledger.listRunners({ seenAfterMs: 0, projectId })).length;
    expect([await seen(null), await seen('proj_two'), await seen('proj_one')]).toEqual([1, 1, 0]);
  });

  it('the reports of runners of one project have a limit together', async () => {
    const { ledger, nowMs } = world();
    const report = (id: string) => ({ ...runnerReport(id), models: ['x'.repeat(1_000)] });
    const save = (id: string, projectId: string | null) => {
      const identity = { keyId: 'key_a', projectId };
      return ledger.saveRunner({ report: report(id), identity, projectBytes: 2_500, nowMs });
    };
    const saved = [await save('1', 'a'), await save('2', 'a'), await save('3', 'a'), await save('2', 'a')];
    expect(saved).toEqual(['saved', 'saved', 'full', 'saved']);
    expect([await save('3', 'b'), await save('4', null)]).toEqual(['saved', 'saved']);
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
