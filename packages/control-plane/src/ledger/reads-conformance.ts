import { describe, expect, it } from 'vitest';
import type { JobRecord } from '../ports/records.js';
import { type LedgerWorld, range, runnerReport } from './world-conformance.js';

/** Lists, progress, queues and runners. */
export function readsConformance(world: () => LedgerWorld): void {
  type ListJobs = Parameters<LedgerWorld['ledger']['listJobs']>[0];
  const ids = async (filter: Partial<ListJobs> = {}) =>
    (await world().ledger.listJobs({ projectId: world().project, limit: 100, ...filter })).map(
      ({ id }) => id,
    );

  describe('jobs', () => {
    it('are listed newest first, in pages without gap or repetition', async () => {
      const jobs: JobRecord[] = [];
      for (const number of range(0, 7)) {
        jobs.push(await world().job({ shards: [1] }));
        if (number % 3 === 2) world().nowMs += 1;
      }
      await world().job({ shards: [1], projectId: 'proj_two' });
      const newestFirst = jobs
        .toSorted((left, right) => right.createdAtMs - left.createdAtMs || (left.id < right.id ? 1 : -1))
        .map(({ id }) => id);
      const paged: string[] = [];
      for (;;) {
        const after = paged.at(-1);
        const page = await ids({ limit: 3, ...(after === undefined ? {} : { after }) });
        if (page.length === 0) break;
        paged.push(...page);
      }
      expect(paged).toEqual(newestFirst);
      expect(await ids({ after: 'job_unknown' })).toEqual([]);
    });

    it('are filtered by state, model, metadata, time and dialect, exactly', async () => {
      const awkward = '",%_\\\'\n"model';
      const plain = await world().job({ shards: [1] });
      world().nowMs += 10;
      const tagged = await world().job({
        shards: [1],
        model: awkward,
        overrides: { options: { metadata: { run: '7', team: awkward } }, dialect: 'openai' },
      });
      await world().claimNext(tagged);
      expect(await ids({ states: ['running'] })).toEqual([tagged.id]);
      expect(await ids({ states: ['queued', 'running'] })).toHaveLength(2);
      expect(await ids({ states: [] })).toEqual([]);
      expect(await ids({ model: awkward })).toEqual([tagged.id]);
      expect(await ids({ model: 'model-a' })).toEqual([plain.id]);
      expect(await ids({ model: 'model' })).toEqual([]);
      expect(await ids({ model: 'MODEL-A' })).toEqual([]);
      expect(await ids({ metadata: { run: '7', team: awkward } })).toEqual([tagged.id]);
      expect(await ids({ metadata: { run: '7', team: 'other' } })).toEqual([]);
      expect(await ids({ metadata: { run: '' } })).toEqual([]);
      expect(await ids({ createdAfterMs: plain.createdAtMs })).toEqual([tagged.id]);
      expect(await ids({ dialect: 'native' })).toEqual([plain.id]);
    });
  });

  describe('progress', () => {
    it('counts items in leased shards, and what was settled in the window', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [4, 4, 4] });
      const activity = () => ledger.jobActivity({ jobId: job.id, nowMs: world().nowMs, windowMs: 10_000 });
      const nothing = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 };
      expect(await activity()).toEqual({
        runningItems: 0,
        settledItems: 0,
        settledUsage: nothing,
        oldestSettledAtMs: null,
        oldestLeaseAtMs: null,
        lastSettledAtMs: null,
        settleIntervalMs: null,
      });
      const begunAtMs = world().nowMs;
      const first = await world().claimNext(job);
      await world().claimNext(job);
      await world().settle(first, [0]);
      world().nowMs += 9_999;
      const secondAtMs = world().nowMs;
      await world().settle(first, [1, 2]);
      expect(await activity()).toEqual({
        runningItems: 5,
        settledItems: 3,
        settledUsage: { inputTokens: 30, cachedInputTokens: 12, outputTokens: 15, reasoningTokens: 3 },
        oldestSettledAtMs: secondAtMs - 9_999,
        oldestLeaseAtMs: begunAtMs,
        lastSettledAtMs: secondAtMs,
        settleIntervalMs: 9_999,
      });
      world().nowMs += 1;
      expect(await activity()).toMatchObject({ settledItems: 2, oldestSettledAtMs: secondAtMs });
    });

    it('shows segments in completion order behind a cursor, and by place in the input', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [2, 2] });
      const first = await world().claimNext(job);
      const second = await world().claimNext(job);
      await world().settle(second, [3]);
      await world().settle(first, [0, 1]);
      await world().settle(second, [2]);
      const sequences = (segments: { sequence: number; ordinal: number }[]) =>
        segments.map(({ sequence, ordinal }) => [sequence, ordinal]);
      expect(sequences(await ledger.listSegments({ jobId: job.id, limit: 2 }))).toEqual([
        [1, 1],
        [2, 0],
      ]);
      expect(sequences(await ledger.listSegments({ jobId: job.id, afterSequence: 2, limit: 2 }))).toEqual([
        [3, 1],
      ]);
      const byOrdinal = { jobId: job.id, fromOrdinal: 0, toOrdinal: 2 };
      expect(sequences(await ledger.listSegmentsByOrdinal(byOrdinal))).toEqual([
        [2, 0],
        [1, 1],
        [3, 1],
      ]);
      expect(await ledger.listSegmentsByOrdinal({ ...byOrdinal, toOrdinal: 1 })).toMatchObject([
        { jobId: job.id, shardId: first.id, first: 0, bytes: 100, settledAtMs: world().nowMs },
      ]);
    });
  });

  describe('the queue', () => {
    it('counts what stands before a job in its lanes', async () => {
      const { ledger } = world();
      const older = await world().job({ shards: [4, 2] });
      await world().job({ shards: [9], model: 'model-b' });
      await world().job({ shards: [9], priority: 'low' });
      world().nowMs += 1;
      const job = await world().job({ shards: [1] });
      world().nowMs += 1;
      await world().job({ shards: [3], priority: 'high' });
      await world().job({ shards: [9] });
      const position = () => ledger.queuePosition({ jobId: job.id });
      expect(await position()).toMatchObject({ jobsAhead: 2, itemsAhead: 9, otherProjects: 0 });
      await world().claimNext(older);
      expect(await position()).toMatchObject({ jobsAhead: 2, itemsAhead: 5 });
      await world().job({ shards: [1, 1], projectId: 'proj_two' });
      await world().job({ shards: [1], projectId: 'proj_three', priority: 'low' });
      expect(await position()).toMatchObject({ jobsAhead: 2, itemsAhead: 5, otherProjects: 1 });
      await world().job({ shards: [7], overrides: { expiresAtMs: job.expiresAtMs - 1 } });
      expect(await position()).toMatchObject({ jobsAhead: 3, itemsAhead: 12 });
    });

    it('knows what a project holds of its cap', async () => {
      const { ledger, project } = world();
      const job = await world().job({ shards: [4, 3, 2] });
      const position = () => ledger.queuePosition({ jobId: job.id });
      expect(await position()).toMatchObject({ heldItems: 0, maxRunningItems: null });
      const row = { id: project, name: 'one', weight: 1, maxRunningItems: 8, createdAtMs: world().nowMs };
      await ledger.createProject({ project: row });
      const lease = await world().claimNext(job);
      await world().settle(lease, [0]);
      await ledger.takeOffers({ staleBeforeMs: 0, limit: 1, nowMs: world().nowMs });
      expect(await position()).toMatchObject({ heldItems: 6, maxRunningItems: 8 });
    });

    it('names jobs of every state of which nothing was heard, some of each project', async () => {
      const { ledger } = world();
      const silent = await world().job({ shards: [2] });
      const busy = await world().job({ shards: [2] });
      const queued = await world().job({ shards: [2] });
      const unplanned = await world().job({ shards: [2], isPlanned: false });
      const paused = await world().job({ shards: [2] });
      const { project } = world();
      await ledger.setPaused({ projectId: project, id: paused.id, paused: true, nowMs: world().nowMs });
      await world().claimNext(silent);
      const lease = await world().claimNext(busy);
      world().nowMs += 60_000;
      await world().settle(lease, [0]);
      for (let index = 0; index < 4; index += 1) await world().job({ shards: [2], projectId: 'proj_two' });
      const silentJobs = async (sinceMs: number) =>
        (await ledger.listSilent({ sinceMs, perProject: 3, limit: 10 })).map((job) => job.id);
      const expected = [silent.id, queued.id, unplanned.id].toSorted();
      expect((await silentJobs(world().nowMs)).toSorted()).toEqual(expected);
      expect(await silentJobs(world().nowMs - 60_000)).toEqual([]);
      expect(await silentJobs(world().nowMs + 1)).toHaveLength(3 + 1 + 3);
      expect(await ledger.countOpenJobs()).toContainEqual({
        state: 'queued',
        wait: 'paused',
        jobs: 1,
        sinceMs: world().nowMs - 60_000,
      });
    });

    it('is summed up by lane', async () => {
      const { ledger } = world();
      expect(await ledger.backlog()).toEqual([]);
      const job = await world().job({ shards: [4, 4, 4] });
      await world().job({ shards: [1], priority: 'high' });
      const lease = await world().claimNext(job);
      await world().settle(lease, [0, 1]);
      await ledger.releaseShard({ shardId: lease.id, epoch: lease.epoch, nowMs: world().nowMs });
      await world().claim((await world().shards(job))[2] ?? expect.fail('no shard'));
      await ledger.takeOffers({ staleBeforeMs: 0, limit: 2, nowMs: world().nowMs });
      const lanes = await ledger.backlog();
      expect(lanes.toSorted((left, right) => (left.priority < right.priority ? -1 : 1))).toEqual([
        {
          model: 'model-a',
          priority: 'high',
          readyShards: 1,
          offeredShards: 1,
          leasedShards: 0,
          readyItems: 1,
          pausedShards: 0,
          budgetShards: 0,
        },
        {
          model: 'model-a',
          priority: 'normal',
          readyShards: 2,
          offeredShards: 1,
          leasedShards: 1,
          readyItems: 6,
          pausedShards: 0,
          budgetShards: 0,
        },
      ]);
    });
  });

  it('knows the runners that were seen lately, by their newest report', async () => {
    const { ledger, nowMs } = world();
    const report = runnerReport('run_b');
    await ledger.saveRunner({ report, nowMs: nowMs - 2 });
    await ledger.saveRunner({ report: { ...report, in_flight: 3 }, nowMs });
    await ledger.saveRunner({ report: runnerReport('run_a'), nowMs: nowMs - 1 });
    expect(await ledger.listRunners({ seenAfterMs: nowMs - 2 })).toEqual([
      { report: runnerReport('run_a'), lastSeenAtMs: nowMs - 1, projectId: null },
      { report: { ...report, in_flight: 3 }, lastSeenAtMs: nowMs, projectId: null },
    ]);
    expect(await ledger.listRunners({ seenAfterMs: nowMs - 1 })).toHaveLength(1);
    await ledger.removeRunner({ runnerId: 'run_b' });
    await ledger.removeRunner({ runnerId: 'run_b' });
    expect(await ledger.listRunners({ seenAfterMs: 0 })).toHaveLength(1);
  });

  it('knows which objects are named by a file or a segment', async () => {
    const { ledger } = world();
    const job = await world().job({ shards: [1] });
    await world().runAll(job);
    const [segment] = await ledger.listSegments({ jobId: job.id, limit: 1 });
    const referenced = (key: string) => ledger.isBlobReferenced({ key });
    expect([
      await referenced(job.inputBlobKey),
      await referenced(segment?.blobKey ?? ''),
      await referenced('proj_one/files/unknown'),
    ]).toEqual([true, true, false]);
  });
}
