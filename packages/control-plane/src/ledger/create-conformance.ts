import { newId } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { FileRecord, JobRecord } from '../ports/records.js';
import { type LedgerWorld, range, shardsOf } from './world-conformance.js';

const TEN_MINUTES_MS = 600_000;

/** Files, jobs before they run, and creates that come twice (I1). */
export function createConformance(world: () => LedgerWorld): void {
  const create = (job: JobRecord, claim: Parameters<LedgerWorld['claimOf']>[0]) =>
    world().ledger.createJob({
      job,
      file: null,
      shards: shardsOf([4]),
      idempotency: world().claimOf(claim),
      nowMs: world().nowMs,
    });

  describe('the schema', () => {
    it('is brought up to date by several processes at once, and again without effect', async () => {
      const { ledger } = world();
      await Promise.all([ledger.migrate(), ledger.migrate()]);
      await ledger.check();
      await ledger.check();
    });
  });

  describe('I1: a create that comes again', () => {
    it('gives the first job to the same key and body, and nothing to the same key with another body', async () => {
      const file = await world().file();
      const first = await create(world().jobRecord(file), { key: 'k1' });
      expect(first.outcome).toBe('created');
      const again = await create(world().jobRecord(file), { key: 'k1', isRetry: true });
      expect(again).toEqual({ ...first, outcome: 'replayed' });
      expect(await create(world().jobRecord(file), { key: 'k1', fingerprint: 'other' })).toEqual({
        outcome: 'conflict',
      });
    });

    it('keeps keys of other projects and routes apart', async () => {
      const file = await world().file();
      await create(world().jobRecord(file), { key: 'k1' });
      const elsewhere = await create(world().jobRecord(file), { key: 'k1', route: 'POST /v1/batches' });
      const foreignFile = await world().file({ projectId: 'proj_two' });
      const foreign = await create(world().jobRecord(foreignFile), { key: 'k1', projectId: 'proj_two' });
      expect([elsewhere.outcome, foreign.outcome]).toEqual(['created', 'created']);
    });

    it('makes one job of 100 creates at once with one key', async () => {
      const file = await world().file();
      const created = await Promise.all(
        range(0, 100).map(() => create(world().jobRecord(file), { key: 'one' })),
      );
      expect(created.filter(({ outcome }) => outcome === 'created')).toHaveLength(1);
      const ids = new Set(created.map((one) => (one.outcome === 'conflict' ? 'conflict' : one.record.id)));
      expect(ids.size).toBe(1);
      expect(await world().ledger.listJobs({ projectId: world().project, limit: 200 })).toHaveLength(1);
    });

    it('makes one job of 50 different bodies at once with one key, and refuses the others', async () => {
      const file = await world().file();
      const created = await Promise.all(
        range(0, 50).map((number) =>
          create(world().jobRecord(file), { key: 'one', fingerprint: `body ${number}` }),
        ),
      );
      const outcomes = Map.groupBy(created, ({ outcome }) => outcome);
      expect([outcomes.get('created')?.length, outcomes.get('conflict')?.length]).toEqual([1, 49]);
    });

    it("finds the job of an SDK's retry by its content for ten minutes behind the attempt before, and creates for every first attempt", async () => {
      const file = await world().file();
      const first = await create(world().jobRecord(file), {});
      world().nowMs += 1_000;
      const second = await create(world().jobRecord(file), {});
      expect([first.outcome, second.outcome]).toEqual(['created', 'created']);
      world().nowMs += TEN_MINUTES_MS - 1;
      const retried = await create(world().jobRecord(file), { isRetry: true });
      expect(retried).toEqual({ ...second, outcome: 'replayed' });
      expect((await create(world().jobRecord(file), { isRetry: true, fingerprint: 'other' })).outcome).toBe(
        'created',
      );
      // Each retry that was answered begins the ten minutes again: a chain of them is one request.
      world().nowMs += TEN_MINUTES_MS - 1;
      expect((await create(world().jobRecord(file), { isRetry: true })).outcome).toBe('replayed');
      world().nowMs += TEN_MINUTES_MS + 1;
      expect((await create(world().jobRecord(file), { isRetry: true })).outcome).toBe('created');
    });

    it('makes one job of 20 retries at once whose first attempt never arrived', async () => {
      const file = await world().file();
      const created = await Promise.all(
        range(0, 20).map(() => create(world().jobRecord(file), { isRetry: true })),
      );
      expect(created.filter(({ outcome }) => outcome === 'created')).toHaveLength(1);
    });

    it('takes no create with a key for the first attempt of one without', async () => {
      const file = await world().file();
      await create(world().jobRecord(file), { key: 'k1' });
      expect((await create(world().jobRecord(file), { isRetry: true })).outcome).toBe('created');
    });

    it('gives a key to a new file when the file it named was deleted', async () => {
      const { ledger, project, nowMs } = world();
      const idempotency = world().claimOf({ key: 'k1', route: 'POST /v1/files' });
      const first = world().fileRecord();
      await ledger.createFile({ file: first, idempotency, nowMs });
      await ledger.deleteFile({ projectId: project, id: first.id });
      const second = world().fileRecord();
      expect((await ledger.createFile({ file: second, idempotency, nowMs })).outcome).toBe('created');
      expect(await ledger.createFile({ file: world().fileRecord(), idempotency, nowMs })).toEqual({
        outcome: 'replayed',
        record: second,
      });
    });

    it('forgets keys and contents after their own times', async () => {
      const file = await world().file();
      const { ledger, nowMs } = world();
      await create(world().jobRecord(file), { key: 'k1' });
      await create(world().jobRecord(file), {});
      await ledger.forgetIdempotency({ explicitBeforeMs: nowMs, implicitBeforeMs: nowMs + 1 });
      expect((await create(world().jobRecord(file), { key: 'k1' })).outcome).toBe('replayed');
      expect((await create(world().jobRecord(file), { isRetry: true })).outcome).toBe('created');
      await ledger.forgetIdempotency({ explicitBeforeMs: nowMs + 1, implicitBeforeMs: nowMs });
      expect((await create(world().jobRecord(file), { key: 'k1' })).outcome).toBe('created');
    });

    it('leaves nothing of a create whose input file is gone: the key is free', async () => {
      const { ledger, project } = world();
      const file = await world().file();
      await ledger.deleteFile({ projectId: project, id: file.id });
      const job = world().jobRecord(file);
      await expect(create(job, { key: 'k1' })).rejects.toMatchObject({ code: 'not_found' });
      expect(await ledger.getJob({ projectId: project, id: job.id })).toBeNull();
      const other = await world().file();
      expect((await create(world().jobRecord(other), { key: 'k1' })).outcome).toBe('created');
    });
  });

  describe('files', () => {
    it('come back as they were stored, to their own project only', async () => {
      const file = await world().file({
        filename: 'prüfung "1"\\\u2028.jsonl',
        bytes: 8 * 1024 ** 3,
        sha256: 'ab'.repeat(32),
        expiresAtMs: world().nowMs + 1,
        summary: {
          items: 2,
          bytes: 300,
          models: { 'model-a': 2 },
          urls: {},
          linesWithoutModel: { count: 0, lines: [] },
          linesWithoutUrl: { count: 2, lines: [1, 2] },
          shards: [{ first: 0, count: 2, offset: 0, bytes: 300, model: null }],
        },
      });
      const { ledger, project } = world();
      expect(await ledger.getFile({ projectId: project, id: file.id })).toEqual(file);
      expect(await ledger.getFile({ projectId: 'proj_two', id: file.id })).toBeNull();
      expect(await ledger.deleteFile({ projectId: 'proj_two', id: file.id })).toEqual({
        outcome: 'not_found',
      });
      expect(await ledger.listFiles({ projectId: project, limit: 10 })).toEqual([{ ...file, summary: null }]);
    });

    it('are listed in pages without gap or repetition, also when made in the same millisecond', async () => {
      const files: FileRecord[] = [];
      for (const number of range(0, 7)) {
        files.push(await world().file(number === 3 ? { purpose: 'batch_output' } : {}));
        if (number % 3 === 2) world().nowMs += 1;
      }
      await world().file({ internal: true });
      await world().file({ projectId: 'proj_two' });
      const { ledger, project } = world();
      const all = async (order: 'asc' | 'desc', purpose?: string) => {
        const ids: string[] = [];
        for (let after: string | undefined; ; after = ids.at(-1)) {
          const page = await ledger.listFiles({
            projectId: project,
            order,
            limit: 2,
            ...(after === undefined ? {} : { after }),
            ...(purpose === undefined ? {} : { purpose }),
          });
          if (page.length === 0) return ids;
          ids.push(...page.map(({ id }) => id));
        }
      };
      const byAge = files
        .toSorted((left, right) => left.createdAtMs - right.createdAtMs || (left.id < right.id ? -1 : 1))
        .map(({ id }) => id);
      expect(await all('asc')).toEqual(byAge);
      expect(await all('desc')).toEqual(byAge.toReversed());
      expect(await all('desc', 'batch_output')).toEqual([files[3]?.id]);
      expect(await ledger.listFiles({ projectId: project, after: 'file-unknown', limit: 5 })).toEqual([]);
    });

    it('stay while a job that has not ended reads them', async () => {
      const { ledger, project } = world();
      const job = await world().job({ shards: [1] });
      const params = { projectId: project, id: job.inputFileId };
      expect(await ledger.deleteFile(params)).toEqual({ outcome: 'in_use' });
      await world().runAll(job);
      expect(await ledger.deleteFile(params)).toEqual({ outcome: 'in_use' });
      await world().finish(job, 'succeeded');
      expect(await ledger.deleteFile(params)).toMatchObject({
        outcome: 'deleted',
        blobKey: job.inputBlobKey,
      });
      expect(await ledger.deleteFile(params)).toEqual({ outcome: 'not_found' });
    });

    it('expire at their time unless a living job reads them', async () => {
      const { ledger, project } = world();
      const old = await world().file({ expiresAtMs: world().nowMs + 10 });
      const young = await world().file({ expiresAtMs: world().nowMs + 11 });
      const read = await world().file({ expiresAtMs: world().nowMs + 5 });
      await create(world().jobRecord(read), {});
      world().nowMs += 10;
      expect(await ledger.expireFiles({ nowMs: world().nowMs, limit: 10 })).toEqual([old.blobKey]);
      expect(await ledger.expireFiles({ nowMs: world().nowMs, limit: 10 })).toEqual([]);
      expect(await ledger.getFile({ projectId: project, id: old.id })).toBeNull();
      expect(await ledger.getFile({ projectId: project, id: young.id })).toEqual(young);
      expect(await ledger.getFile({ projectId: project, id: read.id })).toEqual(read);
    });
  });

  describe('a new job', () => {
    it('comes back as it was stored, with its own input file, to its own project only', async () => {
      const { ledger, nowMs, project } = world();
      const file = world().fileRecord({ internal: true });
      const job = world().jobRecord(file, {
        options: { metadata: { run: 'nightly "7"' }, max_error_rate: 0.25, defaults: { temperature: 0 } },
        dialect: 'openai',
        priority: 'high',
      });
      const created = await ledger.createJob({
        job,
        file,
        shards: shardsOf([3, 1]),
        idempotency: world().claimOf(),
        nowMs,
      });
      world().watch(job);
      const stored: JobRecord = { ...job, state: 'queued', queuedAtMs: nowMs };
      expect(created).toEqual({ outcome: 'created', record: stored });
      expect(await ledger.getJob({ projectId: project, id: job.id })).toEqual(stored);
      expect(await ledger.getJob({ projectId: 'proj_two', id: job.id })).toBeNull();
      expect(await ledger.getFile({ projectId: project, id: file.id })).toEqual(file);
      expect(await ledger.countOrdinals({ jobId: job.id })).toBe(2);
      expect((await world().shards(job)).map(({ id, ...shard }) => shard)).toEqual(
        shardsOf([3, 1]).map((shard, ordinal) => ({
          ...shard,
          jobId: job.id,
          projectId: project,
          ordinal,
          skip: 0,
          priority: 'high',
          state: 'ready',
          epoch: 0,
          doneMask: new Uint8Array(32),
          badMask: new Uint8Array(32),
          lostLeases: 0,
          runnerId: null,
          holderKeyId: null,
          leaseUntilMs: null,
          offeredAtMs: null,
        })),
      );
    });

    const unplanned = async (): Promise<JobRecord> => {
      const file = await world().file();
      const job = world().jobRecord(file, { models: [] });
      const idempotency = world().claimOf({ fingerprint: job.id });
      await world().ledger.createJob({ job, file: null, shards: null, idempotency, nowMs: world().nowMs });
      world().watch(job);
      return job;
    };

    it('waits for its shards when it came without, and is planned once', async () => {
      const { ledger } = world();
      const job = await unplanned();
      expect((await world().current(job)).state).toBe('validating');
      expect(await ledger.countOrdinals({ jobId: job.id })).toBe(0);
      world().nowMs += 1;
      const { nowMs } = world();
      expect(
        (await ledger.listUnplanned({ createdBeforeMs: nowMs, small: true, limit: 5, nowMs })).map(
          ({ id }) => id,
        ),
      ).toEqual([job.id]);
      const plan = { jobId: job.id, shards: shardsOf([2, 2], 'model-b'), models: ['model-b'], nowMs };
      const planned = await Promise.all([ledger.planJob(plan), ledger.planJob(plan)]);
      expect(planned.toSorted()).toEqual([false, true]);
      expect(await world().current(job)).toMatchObject({
        state: 'queued',
        queuedAtMs: nowMs,
        models: ['model-b'],
        version: 2,
      });
      expect(await world().shards(job)).toHaveLength(2);
      expect(await ledger.listUnplanned({ createdBeforeMs: nowMs, small: true, limit: 5, nowMs })).toEqual(
        [],
      );
      expect(await ledger.listJobs({ projectId: job.projectId, model: 'model-b', limit: 5 })).toHaveLength(1);
    });

    it('fails with its bad lines when it is refused, and has no items then', async () => {
      const { ledger, nowMs } = world();
      const job = await unplanned();
      const errors = [{ line: 3, param: 'body.model', code: 'missing_parameter', message: 'No model.' }];
      expect(await ledger.refuseJob({ jobId: job.id, errors, nowMs })).toBe(true);
      expect(await ledger.refuseJob({ jobId: job.id, errors: [], nowMs })).toBe(false);
      expect(await ledger.planJob({ jobId: job.id, shards: shardsOf([4]), models: [], nowMs })).toBe(false);
      expect(await world().current(job)).toMatchObject({
        state: 'failed',
        total: 0,
        inputErrors: errors,
        finishedAtMs: nowMs,
      });
    });

    it('that is cancelled before it is planned still gets its shards, stopped, so that no item is lost', async () => {
      const { ledger } = world();
      const job = await unplanned();
      expect(await world().stop(job)).toMatchObject({ outcome: 'stopping', job: { state: 'cancelling' } });
      world().nowMs += 1_000;
      const { nowMs } = world();
      expect(await ledger.advanceStopping({ graceBeforeMs: nowMs, nowMs })).toEqual([]);
      expect(
        await ledger.listUnplanned({ createdBeforeMs: nowMs, small: true, limit: 5, nowMs }),
      ).toHaveLength(1);
      const plan = { jobId: job.id, shards: shardsOf([4]), models: ['model-a'], nowMs };
      expect(await ledger.planJob(plan)).toBe(true);
      expect((await world().shards(job)).map(({ state }) => state)).toEqual(['stopped']);
      expect(await world().finish(job, 'cancelled')).toMatchObject({ state: 'cancelled', cancelled: 4 });
    });

    it('that has its shards is not planned again, whatever its state', async () => {
      const job = await world().job({ shards: [2, 2] });
      await world().claimNext(job);
      const plan = { jobId: job.id, shards: shardsOf([4]), models: ['model-a'], nowMs: world().nowMs };
      expect(await world().ledger.planJob(plan)).toBe(false);
      await world().stop(job);
      expect(await world().ledger.planJob(plan)).toBe(false);
      expect(await world().ledger.refuseJob({ jobId: job.id, errors: [], nowMs: world().nowMs })).toBe(false);
      expect(await world().shards(job)).toHaveLength(2);
    });

    it('may have thousands of shards', async () => {
      const job = await world().job({ shards: Array.from({ length: 3_907 }, () => 256) });
      expect(job.total).toBe(1_000_192);
      expect(await world().ledger.countOrdinals({ jobId: job.id })).toBe(3_907);
      const page = await world().ledger.listShards({ jobId: job.id, fromOrdinal: 3_900, toOrdinal: 3_902 });
      expect(page.map(({ first }) => first)).toEqual([3_900 * 256, 3_901 * 256]);
    });
  });

  it('knows nothing by names that hold a NUL, and stores what holds one', async () => {
    const { ledger, project } = world();
    const id = 'job_\0';
    expect(await ledger.getJob({ projectId: project, id })).toBeNull();
    expect(await ledger.getFile({ projectId: '\0', id })).toBeNull();
    expect(await ledger.listJobs({ projectId: project, after: id, model: '\0', limit: 1 })).toEqual([]);
    const file = await world().file({ filename: 'a\0b' });
    expect((await ledger.getFile({ projectId: project, id: file.id }))?.filename).toMatch(/^a.b$/);
  });

  it('answers about what it does not know with null', async () => {
    const { ledger, project, nowMs } = world();
    const id = newId('job');
    expect(await ledger.getJob({ projectId: project, id })).toBeNull();
    expect(await ledger.getShard({ shardId: id })).toBeNull();
    expect(await ledger.stopJob({ projectId: null, id, reason: 'cancelled', nowMs })).toBeNull();
    expect(
      await ledger.retryJob({ projectId: project, id, statuses: ['failed'], expiresAtMs: nowMs, nowMs }),
    ).toBeNull();
    expect(await ledger.countOrdinals({ jobId: id })).toBe(0);
    expect(await ledger.queuePosition({ jobId: id })).toMatchObject({ jobsAhead: 0, itemsAhead: 0 });
  });
}
