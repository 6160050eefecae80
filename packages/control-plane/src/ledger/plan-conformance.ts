import { positionsOf } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import { indexAt, positionOf } from '../plan/positions.js';
import type { JobRecord, ShardRecord } from '../ports/records.js';
import { LEASE_MS, type LedgerWorld, outcomeOf } from './world-conformance.js';

/** Jobs whose items run in another order than that of their input. */
export function planConformance(getWorld: () => LedgerWorld): void {
  /** Six items in two shards, last item first. */
  async function plannedJob(): Promise<JobRecord> {
    const world = getWorld();
    const file = await world.file();
    const job = world.jobRecord(file, { total: 6 });
    world.watch(job);
    const idempotency = world.claimOf({ fingerprint: job.id });
    await world.ledger.createJob({ job, file: null, shards: null, idempotency, nowMs: world.nowMs });
    const shard = { offset: 0, bytes: 100, model: 'model-a' };
    const planned = await world.ledger.planJob({
      jobId: job.id,
      shards: [
        { ...shard, first: 0, count: 4 },
        { ...shard, first: 4, count: 2, offset: 100 },
      ],
      models: ['model-a'],
      work: { blobKey: `proj_one/work/${job.id}`, order: Uint32Array.of(5, 4, 3, 2, 1, 0) },
      nowMs: world.nowMs,
    });
    expect(planned).toBe(true);
    return await world.current(job);
  }
  const settle = (shard: ShardRecord, indexes: readonly number[], ok = true) =>
    getWorld().ledger.settle({
      shardId: shard.id,
      epoch: shard.epoch,
      segment: { blobKey: `proj_one/segments/${shard.id}-${indexes.join('-')}`, bytes: 10 },
      outcomes: indexes.map((index) => outcomeOf(index, ok)),
      nowMs: getWorld().nowMs,
    });

  describe('a job in an order of its own', () => {
    it('says which items its shards hold, to whoever holds or reads them', async () => {
      const world = getWorld();
      const job = await plannedJob();
      expect(job).toMatchObject({ state: 'queued', workBlobKey: `proj_one/work/${job.id}` });
      const shard = await world.claimNext(job);
      expect(shard.indexes).toEqual(Uint32Array.of(5, 4, 3, 2));
      expect((await world.ledger.getShard({ shardId: shard.id }))?.indexes).toEqual(shard.indexes);
      const listed = await world.ledger.listShards({ jobId: job.id, fromOrdinal: 0, toOrdinal: 2 });
      expect(listed.map(({ indexes }) => [...(indexes ?? [])])).toEqual([
        [5, 4, 3, 2],
        [1, 0],
      ]);
      await settle(shard, [5, 4, 3, 2]);
      await settle(await world.claimNext(job), [0, 1]);
      await world.finish(job, 'succeeded');
    });

    it('marks the places of the items that ended, and refuses items of other shards', async () => {
      const world = getWorld();
      const job = await plannedJob();
      const shard = await world.claimNext(job);
      await expect(settle(shard, [1])).rejects.toBeInstanceOf(RangeError);
      expect(await settle(shard, [2, 5])).toMatchObject({ accepted: 2, shardDone: false });
      expect(await settle(shard, [5, 4], false)).toMatchObject({ accepted: 1, repeated: 1 });
      const held = await world.ledger.getShard({ shardId: shard.id });
      expect(positionsOf(held?.doneMask ?? new Uint8Array(32))).toEqual([0, 1, 3]);
      expect(positionsOf(held?.badMask ?? new Uint8Array(32))).toEqual([1]);
      const [first, second] = await world.ledger.listSegments({ jobId: job.id, limit: 10 });
      expect(positionsOf(first?.decided ?? new Uint8Array(32))).toEqual([0, 3]);
      expect([...(second?.indexes ?? [])]).toEqual([5, 4, 3, 2]);
      expect((await world.current(job)).errorGroups).toMatchObject([{ count: 1, sample: { index: 4 } }]);
      await settle(shard, [3]);
      await settle(await world.claimNext(job), [0, 1]);
      await world.finish(job, 'succeeded');
    });

    it('keeps the order in the halves of a bisected shard, and in a retry', async () => {
      const world = getWorld();
      const job = await plannedJob();
      for (let loss = 0; loss < 2; loss += 1) {
        await world.claimNext(job);
        world.nowMs += LEASE_MS + 1;
        await world.ledger.expireLeases({ nowMs: world.nowMs, limit: 10 });
      }
      const halves = await world.ledger.listShards({ jobId: job.id, fromOrdinal: 0, toOrdinal: 1 });
      expect(halves.map(({ indexes }) => [...(indexes ?? [])])).toEqual([
        [5, 4],
        [3, 2],
      ]);
      for (let shards = 0; shards < 3; shards += 1) {
        const shard = await world.claimNext(job);
        const indexes = Array.from({ length: shard.count }, (_, position) => indexAt(shard, position));
        await settle(shard, indexes, !indexes.includes(3));
      }
      const byOrdinal = { jobId: job.id, fromOrdinal: 0, toOrdinal: 1 };
      const parts = await world.ledger.listSegmentsByOrdinal(byOrdinal);
      expect(parts.map((part) => positionOf(part, 3)).sort()).toEqual([0, 2]);
      await world.finish(job, 'succeeded');
      const { id, projectId } = job;
      const retried = await world.ledger.retryJob({
        id,
        projectId,
        statuses: ['failed'],
        expiresAtMs: world.nowMs + 1_000,
        nowMs: world.nowMs,
      });
      expect(retried).toMatchObject({ outcome: 'retrying', items: 2 });
      const again = await world.claimNext(job);
      expect([...(again.indexes ?? [])]).toEqual([3, 2]);
      expect(await settle(again, [2, 3])).toMatchObject({ accepted: 2, jobState: 'finalizing' });
      await world.finish(job, 'succeeded');
    });

    it('keeps its work file as long as its input, and none of it when it is deleted', async () => {
      const world = getWorld();
      const job = await plannedJob();
      const key = `proj_one/work/${job.id}`;
      expect(await world.ledger.isBlobReferenced({ key })).toBe(true);
      await settle(await world.claimNext(job), [5, 4, 3, 2]);
      await settle(await world.claimNext(job), [0, 1]);
      await world.finish(job, 'succeeded');
      const input = { projectId: job.projectId, id: job.inputFileId };
      expect(await world.ledger.deleteFile(input)).toMatchObject({ outcome: 'deleted', workBlobKeys: [key] });
      expect(await world.ledger.isBlobReferenced({ key })).toBe(false);
      const deleted = await world.ledger.deleteJob({ projectId: job.projectId, id: job.id });
      expect(deleted).toMatchObject({ outcome: 'deleted', blobKeys: expect.arrayContaining([key]) });
    });
  });

  describe('a job that waits to be planned', () => {
    it('is planned by one planner at a time, and finalized by whoever comes', async () => {
      const world = getWorld();
      const file = await world.file();
      const job = world.jobRecord(file);
      const idempotency = world.claimOf({ fingerprint: job.id });
      await world.ledger.createJob({ job, file: null, shards: null, idempotency, nowMs: world.nowMs });
      const claim = (owner: string) =>
        world.ledger.claimPlanning({ jobId: job.id, owner, claimMs: 1_000, nowMs: world.nowMs });
      expect([await claim('one'), await claim('two'), await claim('one')]).toEqual([true, false, true]);
      world.nowMs += 1_001;
      expect([await claim('two'), await claim('one')]).toEqual([true, false]);
      await world.ledger.stopJob({ projectId: null, id: job.id, reason: 'cancelled', nowMs: world.nowMs });
      const shards = [{ first: 0, count: 4, offset: 0, bytes: 10, model: 'model-a' }];
      const planned = { jobId: job.id, shards, models: ['model-a'], nowMs: world.nowMs };
      expect(await world.ledger.planJob(planned)).toBe(true);
      expect(await claim('one')).toBe(false);
      const finalizing = { owner: 'other', claimMs: 1_000, nowMs: world.nowMs };
      expect(await world.ledger.claimFinalization(finalizing)).toMatchObject({ id: job.id });
      await world.ledger.abandonFinalization({ jobId: job.id, owner: 'other' });
      await world.finish(job, 'cancelled');
    });
  });
}
