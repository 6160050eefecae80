import { fullMask, type Mask, newId } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { JobRecord } from '../ports/records.js';
import type { PlannedReuse } from '../ports/reuse.js';
import { type LedgerWorld, maskOf, shardsOf } from './world-conformance.js';

/** Jobs that bring answers of earlier ones along. */
export function reuseConformance(getWorld: () => LedgerWorld): void {
  const NOTHING: PlannedReuse = { keys: null, segments: [] };
  const inRow = { bytes: Uint8Array.of(1, 2, 3), blobKey: null } as const;

  async function newJob(overrides: Partial<JobRecord> = {}): Promise<JobRecord> {
    const world = getWorld();
    // Ids grow with time: the order of jobs is theirs.
    world.nowMs += 1_000;
    const job = world.jobRecord(await world.file({ projectId: overrides.projectId ?? world.project }), {
      total: 6,
      ...overrides,
    });
    const idempotency = world.claimOf({ projectId: job.projectId, fingerprint: job.id });
    await world.ledger.createJob({ job, file: null, shards: null, idempotency, nowMs: world.nowMs });
    world.watch(job);
    return job;
  }
  const segmentOf = (job: JobRecord, ordinal: number, decided: Mask, name = 'a') => ({
    ordinal,
    decided,
    blobKey: `${job.projectId}/segments/${job.id}/${ordinal}${name}`,
    bytes: 10,
  });
  /** Shards of 4 and 2 items. */
  const plan = (job: JobRecord, reuse: PlannedReuse) =>
    getWorld().ledger.planJob({
      jobId: job.id,
      shards: shardsOf([4, 2]),
      models: ['model-a'],
      reuse,
      nowMs: getWorld().nowMs,
    });
  const indexes = async (projectId: string, more: { beforeJobId?: string; endedAfterMs?: number } = {}) => {
    const { ledger, nowMs } = getWorld();
    const found = await ledger.listReuseIndexes({
      ...{ projectId, beforeJobId: newId('job', nowMs + 1_000), endedAfterMs: 0, nowMs, limit: 10 },
      ...more,
    });
    return found.map(({ jobId }) => jobId);
  };

  describe('a job planned with answers of earlier ones', () => {
    it('has ended items from the start, and runs the others', async () => {
      const world = getWorld();
      const job = await newJob();
      const segments = [
        segmentOf(job, 0, maskOf(0)),
        segmentOf(job, 0, maskOf(3), 'b'),
        segmentOf(job, 1, fullMask(2)),
      ];
      expect(await plan(job, { keys: null, segments })).toBe(true);
      const planned = { state: 'queued', succeeded: 4, reused: 4, failed: 0 };
      expect(await world.current(job)).toMatchObject(planned);
      expect((await world.shards(job)).map(({ state }) => state)).toEqual(['ready', 'done']);
      for (const { blobKey } of segments)
        expect(await world.ledger.isBlobReferenced({ key: blobKey })).toBe(true);
      const activity = { jobId: job.id, nowMs: world.nowMs, windowMs: 60_000 };
      // Nothing has run: there is no pace yet.
      expect(await world.ledger.jobActivity(activity)).toMatchObject({
        settledItems: 0,
        lastSettledAtMs: null,
        settleIntervalMs: null,
      });
      await world.settleAll(await world.claimNext(job));
      expect(await world.ledger.jobActivity(activity)).toMatchObject({ settledItems: 2 });
      expect(await world.current(job)).toMatchObject({ state: 'finalizing', succeeded: 6, reused: 4 });
      expect(await world.decidedItems(job.id)).toEqual([0, 1, 2, 3, 4, 5]);
      await world.finish(job, 'succeeded');
    });

    it('goes to its end at once when it has them all', async () => {
      const world = getWorld();
      const job = await newJob();
      await plan(job, {
        keys: null,
        segments: [segmentOf(job, 0, fullMask(4)), segmentOf(job, 1, fullMask(2))],
      });
      expect(await world.current(job)).toMatchObject({ state: 'finalizing', succeeded: 6, reused: 6 });
      expect(await world.offers(10)).toEqual([]);
      expect(await world.finish(job, 'succeeded')).toMatchObject({ endReason: 'completed' });
      const retry = { id: job.id, projectId: job.projectId, statuses: ['failed'] as const };
      expect(
        await world.ledger.retryJob({ ...retry, expiresAtMs: world.nowMs + 1, nowMs: world.nowMs }),
      ).toEqual({ outcome: 'nothing' });
    });

    it('keeps them when it was stopped before', async () => {
      const world = getWorld();
      const job = await newJob();
      await world.stop(job);
      await plan(job, { keys: null, segments: [segmentOf(job, 0, maskOf(1))] });
      expect(await world.current(job)).toMatchObject({ state: 'finalizing', succeeded: 1 });
      expect(await world.finish(job, 'cancelled')).toMatchObject({ cancelled: 5, endReason: 'cancelled' });
    });

    it('is refused when an item would have two answers, or none has such a place', async () => {
      const world = getWorld();
      const job = await newJob();
      for (const segments of [
        [segmentOf(job, 0, maskOf(0)), segmentOf(job, 0, maskOf(0, 1), 'b')],
        [segmentOf(job, 1, maskOf(2))],
        [segmentOf(job, 2, maskOf(0))],
      ]) {
        await expect(plan(job, { keys: null, segments })).rejects.toBeInstanceOf(RangeError);
      }
      expect(await world.current(job)).toMatchObject({ state: 'validating', succeeded: 0 });
      expect(await world.ledger.countOrdinals({ jobId: job.id })).toBe(0);
      expect(await plan(job, NOTHING)).toBe(true);
    });
  });

  describe('jobs whose answers may be taken over', () => {
    it('are those of the project with keys, before another, newest first', async () => {
      const world = getWorld();
      const jobs: JobRecord[] = [];
      for (const projectId of [world.project, world.project, 'proj_two', world.project]) {
        const job = await newJob({ projectId });
        await plan(job, { keys: inRow, segments: [] });
        jobs.push(job);
      }
      await plan(await newJob(), NOTHING);
      const [first, second, other, last] = jobs.map(({ id }) => id);
      expect(await indexes(world.project)).toEqual([last, second, first]);
      expect(await indexes(world.project, { beforeJobId: last ?? '' })).toEqual([second, first]);
      expect(await indexes('proj_two')).toEqual([other]);
      const [found] = await world.ledger.listReuseIndexes({
        ...{
          projectId: 'proj_two',
          beforeJobId: newId('job', world.nowMs + 1_000),
          endedAfterMs: 0,
          nowMs: world.nowMs,
          limit: 1,
        },
      });
      expect(found).toMatchObject({ jobId: other, items: 6, keys: { blobKey: null } });
      expect([...(found?.keys.bytes ?? [])]).toEqual([1, 2, 3]);
    });

    it('are none that ended too long ago, or whose output is gone', async () => {
      const world = getWorld();
      const job = await newJob();
      await plan(job, { keys: inRow, segments: [] });
      await world.runAll(job);
      const outputFile = world.fileRecord({ expiresAtMs: world.nowMs + 1_000 });
      await world.ledger.claimFinalization({ owner: 'f', claimMs: 1_000, nowMs: world.nowMs });
      await world.ledger.finishJob({
        ...{ jobId: job.id, owner: 'f', state: 'succeeded', cancelled: 0, expired: 0 },
        ...{ outputFile, errorFile: null, nowMs: world.nowMs },
      });
      expect(await indexes(job.projectId)).toEqual([job.id]);
      expect(await indexes(job.projectId, { endedAfterMs: world.nowMs })).toEqual([]);
      world.nowMs += 1_000;
      expect(await indexes(job.projectId)).toEqual([]);
      world.nowMs -= 1_000;
      await world.ledger.deleteFile({ projectId: job.projectId, id: outputFile.id });
      expect(await indexes(job.projectId)).toEqual([]);
    });

    it('are forgotten with their keys when they are deleted', async () => {
      const world = getWorld();
      const job = await newJob();
      const key = `${job.projectId}/reuse/one`;
      await plan(job, { keys: { bytes: null, blobKey: key }, segments: [] });
      expect(await world.ledger.isBlobReferenced({ key })).toBe(true);
      await world.runAll(job);
      await world.finish(job, 'succeeded');
      const deleted = await world.ledger.deleteJob({ projectId: job.projectId, id: job.id });
      expect(deleted).toMatchObject({ outcome: 'deleted', blobKeys: expect.arrayContaining([key]) });
      expect(await world.ledger.isBlobReferenced({ key })).toBe(false);
      expect(await indexes(job.projectId)).toEqual([]);
    });
  });

  it('what an item costs is judged by those that ran', async () => {
    const world = getWorld();
    const job = await newJob({ total: 60 });
    const reuse = { keys: null, segments: [{ ...segmentOf(job, 0, fullMask(30)) }] };
    const shards = shardsOf([30, 20, 10]);
    const { nowMs } = world;
    await world.ledger.planJob({ jobId: job.id, shards, models: ['model-a'], reuse, nowMs });
    await world.settleAll(await world.claimNext(job));
    let expected = 0;
    await world.ledger.takeOffers({
      ...{ staleBeforeMs: 0, limit: 1, nowMs },
      pick: ([queue]) => {
        expected = queue?.expectedOutputTokens ?? 0;
        return [];
      },
    });
    expect(expected).toBe(5);
  });
}
