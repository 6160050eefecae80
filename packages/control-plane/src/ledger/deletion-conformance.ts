import { describe, expect, it } from 'vitest';
import type { FileRecord, JobRecord } from '../ports/records.js';
import type { LedgerWorld } from './world-conformance.js';

/** Jobs that are deleted, and pages of lists read backwards. */
export function deletionConformance(world: () => LedgerWorld): void {
  const remove = (job: JobRecord, projectId = job.projectId) =>
    world().ledger.deleteJob({ projectId, id: job.id });

  describe('a job that is deleted', () => {
    it('is gone with its segments and files, but for an input that is a file of its own', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [2, 1] });
      expect(await remove(job)).toEqual({ outcome: 'running' });
      await world().runAll(job, [2]);
      const outputFile = world().fileRecord({ purpose: 'batch_output' });
      const errorFile = world().fileRecord({ purpose: 'batch_output' });
      const claim = { jobId: job.id, owner: 'f', claimMs: 1_000, nowMs: world().nowMs };
      await ledger.claimFinalization(claim);
      expect(await remove(job)).toEqual({ outcome: 'running' });
      await ledger.finishJob({
        ...{ jobId: job.id, owner: 'f', state: 'succeeded', cancelled: 0, expired: 0 },
        ...{ outputFile, errorFile, nowMs: world().nowMs },
      });
      const segments = await ledger.listSegments({ jobId: job.id, limit: 10 });
      expect(segments).toHaveLength(2);
      expect(await remove(job, 'proj_two')).toEqual({ outcome: 'not_found' });

      const removed = await remove(job);
      expect(removed).toEqual({ outcome: 'deleted', blobKeys: expect.any(Array) });
      const keys = removed.outcome === 'deleted' ? removed.blobKeys : [];
      expect(keys.sort()).toEqual(
        [outputFile.blobKey, errorFile.blobKey, ...segments.map(({ blobKey }) => blobKey)].sort(),
      );
      expect(await ledger.getJob({ projectId: job.projectId, id: job.id })).toBeNull();
      for (const key of keys) expect(await ledger.isBlobReferenced({ key })).toBe(false);
      expect(await ledger.getFile({ projectId: job.projectId, id: job.inputFileId })).not.toBeNull();
      expect(await remove(job)).toEqual({ outcome: 'not_found' });
    });

    it('takes the input along that came with it', async () => {
      const { ledger } = world();
      const file = world().fileRecord({ internal: true });
      const job = world().jobRecord(file, { total: 0 });
      const idempotency = world().claimOf({ key: 'once' });
      const create = { job, file, shards: null, idempotency, nowMs: world().nowMs };
      await ledger.createJob(create);
      await ledger.refuseJob({ jobId: job.id, errors: [], nowMs: world().nowMs });
      expect(await remove(job)).toEqual({ outcome: 'deleted', blobKeys: [file.blobKey] });
      expect(await ledger.getFile({ projectId: file.projectId, id: file.id })).toBeNull();
      // The key that made it makes another one.
      const next = world().fileRecord({ internal: true });
      const again = { ...create, job: world().jobRecord(next, { total: 0 }), file: next };
      expect(await ledger.createJob(again)).toMatchObject({ outcome: 'created' });
    });
  });

  it('jobs that ended by a time are found oldest first, and dropped without the files that they made', async () => {
    const { ledger } = world();
    const ended: JobRecord[] = [];
    const outputs: FileRecord[] = [];
    for (let number = 0; number < 3; number += 1) {
      const job = await world().job({ shards: [1] });
      await world().runAll(job, [1]);
      const outputFile = world().fileRecord({ purpose: 'batch_output' });
      await ledger.claimFinalization({ jobId: job.id, owner: 'f', claimMs: 1_000, nowMs: world().nowMs });
      await ledger.finishJob({
        ...{ jobId: job.id, owner: 'f', state: 'succeeded', cancelled: 0, expired: 0 },
        ...{ outputFile, errorFile: null, nowMs: world().nowMs },
      });
      ended.push(job);
      outputs.push(outputFile);
      world().nowMs += 1_000;
    }
    const open = await world().job({ shards: [1] });
    const endedByMs = world().nowMs - 2_000;
    const ours = async (limit: number) => {
      const mine = [...ended, open].map(({ id }) => id);
      const found = await ledger.listEnded({ endedByMs, limit });
      return found.filter(({ id }) => mine.includes(id)).map(({ id }) => id);
    };
    const [first, second, third] = ended.map(({ id }) => id);
    expect(await ours(1_000)).toEqual([first, second]);
    const drop = (id: string) => ledger.deleteJob({ projectId: world().project, id, endedByMs });
    expect(await drop(third ?? '')).toEqual({ outcome: 'running' });
    expect(await drop(first ?? '')).toMatchObject({ outcome: 'deleted' });
    expect(await ours(1_000)).toEqual([second]);
    const output = outputs[0];
    expect(await ledger.getFile({ projectId: world().project, id: output?.id ?? '' })).not.toBeNull();
    expect(await ledger.isBlobReferenced({ key: output?.blobKey ?? '' })).toBe(true);
  });

  it('a page before a job is the one just before it, newest first', async () => {
    const jobs: JobRecord[] = [];
    for (let number = 0; number < 5; number += 1) {
      jobs.push(await world().job({ shards: [1] }));
      if (number % 2 === 1) world().nowMs += 1;
    }
    const list = async (filter: { before?: string; after?: string; limit: number }) =>
      (await world().ledger.listJobs({ projectId: world().project, ...filter })).map(({ id }) => id);
    const all = await list({ limit: 10 });
    expect(await list({ before: all[4] ?? '', limit: 2 })).toEqual(all.slice(2, 4));
    expect(await list({ before: all[1] ?? '', limit: 2 })).toEqual(all.slice(0, 1));
    expect(await list({ before: all[0] ?? '', limit: 2 })).toEqual([]);
    expect(await list({ before: all[4] ?? '', after: all[0] ?? '', limit: 9 })).toEqual(all.slice(1, 4));
    expect(await list({ before: 'job_unknown', limit: 2 })).toEqual([]);
  });
}
