import { describe, expect, it } from 'vitest';
import type { JobRecord } from '../ports/records.js';
import { LEASE_MS, type LedgerWorld, maskOf, openIndices, range } from './world-conformance.js';

type Statuses = Parameters<LedgerWorld['ledger']['retryJob']>[0]['statuses'];

/** Running items of an ended job again: each item stays decided by exactly one segment (I2). */
export function retryConformance(world: () => LedgerWorld): void {
  const retry = (job: JobRecord, statuses: Statuses) =>
    world().ledger.retryJob({
      projectId: job.projectId,
      id: job.id,
      statuses,
      expiresAtMs: world().nowMs + 7_200_000,
      nowMs: world().nowMs,
    });
  const openItems = async (job: JobRecord) =>
    (await world().shards(job)).filter(({ state }) => state === 'ready').flatMap(openIndices);

  describe('a retry', () => {
    it('runs the failed items again, and their old lines count no more', async () => {
      const job = await world().job({ shards: [4, 4] });
      const lease = await world().claimNext(job);
      await world().settle(lease, [0, 1], [1]);
      await world().settle(lease, [2, 3], [2, 3]);
      await world().runAll(job, [7]);
      const ended = await world().finish(job, 'succeeded');
      world().nowMs += 60_000;
      const answer = await retry(job, ['failed']);
      expect(answer).toEqual({
        outcome: 'retrying',
        job: await world().current(job),
        items: 4,
        obsoleteFileIds: [],
      });
      expect(await world().current(job)).toMatchObject({
        state: 'queued',
        succeeded: 4,
        failed: 0,
        endReason: null,
        errorGroups: [],
        finishedAtMs: null,
        finalizingAtMs: null,
        queuedAtMs: world().nowMs,
        expiresAtMs: world().nowMs + 7_200_000,
        version: ended.version + 1,
      });
      expect(await openItems(job)).toEqual([1, 2, 3, 7]);
      const segments = await world().ledger.listSegments({ jobId: job.id, limit: 10 });
      expect(segments.map(({ decided }) => decided)).toEqual([maskOf(0), maskOf(), maskOf(0, 1, 2)]);
      await world().checkAccounting(job.id, job.projectId);

      await world().runAll(job, [3]);
      expect(await world().finish(job, 'succeeded')).toMatchObject({ succeeded: 7, failed: 1 });
      expect(await world().decidedItems(job.id)).toEqual(range(0, 8));
    });

    it('runs never-run items again by the status they have, not by another', async () => {
      const job = await world().job({ shards: [2, 2] });
      await world().settleAll(await world().claimNext(job));
      await world().stop(job, 'expired');
      await world().finish(job, 'expired');
      expect(await retry(job, ['failed', 'cancelled'])).toEqual({ outcome: 'nothing' });
      expect((await world().current(job)).state).toBe('expired');
      expect(await retry(job, ['expired'])).toMatchObject({ items: 2, job: { expired: 0, cancelled: 0 } });
      expect(await openItems(job)).toEqual([2, 3]);
      await world().runAll(job);
      expect(await world().current(job)).toMatchObject({ state: 'finalizing', endReason: 'completed' });
      expect(await world().finish(job, 'succeeded')).toMatchObject({ succeeded: 4, expired: 0 });
    });

    it('of all statuses runs failed and never-run items of the same shard', async () => {
      const job = await world().job({ shards: [4] });
      await world().settle(await world().claimNext(job), [0, 1], [1]);
      await world().stop(job);
      await world().ledger.advanceStopping({ graceBeforeMs: world().nowMs + 1, nowMs: world().nowMs });
      await world().finish(job, 'cancelled');
      expect(await retry(job, ['failed', 'expired', 'cancelled'])).toMatchObject({ items: 3 });
      expect(await openItems(job)).toEqual([1, 2, 3]);
      await world().runAll(job);
      expect(await world().finish(job, 'succeeded')).toMatchObject({ succeeded: 4 });
    });

    it('of failed items alone leaves never-run items of the same shard as they are', async () => {
      const job = await world().job({ shards: [6, 2] });
      await world().settle(await world().claimNext(job), [0, 2, 3], [0, 3]);
      await world().stop(job);
      await world().ledger.advanceStopping({ graceBeforeMs: world().nowMs + 1, nowMs: world().nowMs });
      await world().finish(job, 'cancelled');
      expect(await retry(job, ['failed'])).toMatchObject({
        items: 2,
        job: { state: 'queued', succeeded: 1, failed: 0, cancelled: 5 },
      });
      expect(
        (await world().shards(job)).map((shard) => [shard.first, shard.count, shard.skip, shard.state]),
      ).toEqual([
        [0, 1, 0, 'ready'],
        [1, 2, 1, 'stopped'],
        [3, 1, 3, 'ready'],
        [4, 2, 4, 'stopped'],
        [6, 2, 0, 'stopped'],
      ]);
      await world().checkAccounting(job.id, job.projectId);
      await world().runAll(job, [3]);
      expect(await world().current(job)).toMatchObject({ state: 'finalizing', endReason: 'cancelled' });
      expect(await world().finish(job, 'cancelled')).toMatchObject({ succeeded: 2, failed: 1, cancelled: 5 });
      expect(await retry(job, ['cancelled', 'failed'])).toMatchObject({ items: 6, job: { cancelled: 0 } });
      await world().runAll(job);
      expect(await world().finish(job, 'succeeded')).toMatchObject({ succeeded: 8, cancelled: 0 });
    });

    it('clears the lines of a bisected shard too, and forgets its lost leases', async () => {
      const job = await world().job({ shards: [8] });
      await world().settle(await world().claimNext(job), [0, 5], [5]);
      for (const _ of [1, 2]) {
        world().nowMs += LEASE_MS;
        await world().ledger.expireLeases({ nowMs: world().nowMs, limit: 10 });
        if ((await world().shards(job)).length === 1) await world().claimNext(job);
      }
      expect(await world().shards(job)).toHaveLength(2);
      await world().runAll(job, [1, 7]);
      await world().finish(job, 'succeeded');
      expect(await retry(job, ['failed'])).toMatchObject({ items: 3 });
      expect(await openItems(job)).toEqual([1, 5, 7]);
      expect((await world().shards(job)).map(({ lostLeases }) => lostLeases)).toEqual([0, 0]);
      await world().checkAccounting(job.id, job.projectId);
      await world().runAll(job);
      expect(await world().finish(job, 'succeeded')).toMatchObject({ succeeded: 8, failed: 0 });
    });

    it('names the files that are no longer true', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [2] });
      await world().runAll(job, [1]);
      await ledger.claimFinalization({ jobId: job.id, owner: 'a', claimMs: 1_000, nowMs: world().nowMs });
      const outputFile = world().fileRecord();
      const errorFile = world().fileRecord();
      const end = {
        jobId: job.id,
        owner: 'a',
        state: 'succeeded',
        cancelled: 0,
        expired: 0,
        outputFile,
      } as const;
      await ledger.finishJob({ ...end, errorFile, nowMs: world().nowMs });
      expect(await retry(job, ['failed'])).toMatchObject({ obsoleteFileIds: [outputFile.id, errorFile.id] });
      expect(await world().current(job)).toMatchObject({ outputFileId: null, errorFileId: null });
      await world().runAll(job);
      await ledger.claimFinalization({ jobId: job.id, owner: 'a', claimMs: 1_000, nowMs: world().nowMs });
      const again = { ...outputFile, bytes: 2_000 };
      const ended = await ledger.finishJob({
        ...end,
        outputFile: again,
        errorFile: null,
        nowMs: world().nowMs,
      });
      expect(ended, 'a file of the same name is replaced').toBe(true);
      expect(await ledger.getFile({ projectId: job.projectId, id: outputFile.id })).toEqual(again);
    });

    it('is refused while the job runs, when nothing matches, and without its input', async () => {
      const job = await world().job({ shards: [2] });
      expect(await retry(job, ['failed'])).toEqual({ outcome: 'running' });
      await world().runAll(job, [0]);
      expect(await retry(job, ['failed'])).toEqual({ outcome: 'running' });
      await world().finish(job, 'succeeded');
      expect(await retry(job, ['cancelled'])).toEqual({ outcome: 'nothing' });
      expect(await retry({ ...job, projectId: 'proj_two' }, ['failed'])).toBeNull();
      await world().ledger.deleteFile({ projectId: job.projectId, id: job.inputFileId });
      expect(await retry(job, ['failed'])).toEqual({ outcome: 'input_gone' });
      expect((await world().current(job)).state).toBe('succeeded');
    });

    it('reaches every shard of a large job', async () => {
      const job = await world().job({ shards: range(0, 700).map(() => 2) });
      await world().stop(job);
      await world().finish(job, 'cancelled');
      expect(await retry(job, ['cancelled'])).toMatchObject({ items: 1_400 });
      expect((await world().shards(job)).filter(({ state }) => state === 'ready')).toHaveLength(700);
    });
  });
}
