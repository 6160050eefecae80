import { describe, expect, it } from 'vitest';
import type { JobRecord, ShardRecord } from '../ports/records.js';
import { LEASE_MS, type LedgerWorld, maskOf, outcomeOf, range } from './world-conformance.js';

/** Offers, leases and settles (I3, I5, I8, I12). */
export function leasesConformance(world: () => LedgerWorld): void {
  const offers = (...parameters: Parameters<LedgerWorld['offers']>) => world().offers(...parameters);
  const claimAt = (shardId: string, epoch: number, runnerId = 'run_one') =>
    world().ledger.claimShard({ shardId, epoch, runnerId, leaseMs: LEASE_MS, nowMs: world().nowMs });

  describe('offers', () => {
    it('go by priority, then by age of the job, then by place in the job, each shard once', async () => {
      const low = await world().job({ shards: [1, 1], priority: 'low' });
      world().nowMs += 1;
      const normal = await world().job({ shards: [1, 1] });
      world().nowMs += 1;
      const younger = await world().job({ shards: [1] });
      const high = await world().job({ shards: [1], priority: 'high' });
      const first = await offers(3);
      const second = await offers(10);
      expect([...first, ...second].map((shard) => [shard.jobId, shard.ordinal])).toEqual([
        [high.id, 0],
        [normal.id, 0],
        [normal.id, 1],
        [younger.id, 0],
        [low.id, 0],
        [low.id, 1],
      ]);
      expect(first[0]).toMatchObject({ state: 'ready', epoch: 0, offeredAtMs: world().nowMs });
      expect(await offers(10)).toEqual([]);
    });

    it('are made only for models that somebody serves', async () => {
      await world().job({ shards: [1], model: 'model-a' });
      const other = await world().job({ shards: [1], model: 'model-b' });
      expect((await offers(10, { models: ['model-b', 'model-c'] })).map(({ jobId }) => jobId)).toEqual([
        other.id,
      ]);
      expect(await offers(10, { models: [] })).toEqual([]);
    });

    it('I8: are as many as asked for, whatever the backlog', async () => {
      await world().job({ shards: range(0, 50).map(() => 1) });
      expect(await offers(7)).toHaveLength(7);
      expect(await offers(7)).toHaveLength(7);
    });

    it('are made again when they are stale or withdrawn, and not before', async () => {
      await world().job({ shards: [1, 1] });
      const [first, second] = await offers(2);
      const madeAtMs = world().nowMs;
      world().nowMs += 10_000;
      expect(await offers(2, { staleBeforeMs: madeAtMs })).toEqual([]);
      await world().ledger.withdrawOffers({ shardIds: [second?.id ?? ''] });
      expect((await offers(2, { staleBeforeMs: madeAtMs })).map(({ id }) => id)).toEqual([second?.id]);
      expect((await offers(2, { staleBeforeMs: madeAtMs + 1 })).map(({ id }) => id)).toEqual([first?.id]);
    });

    it('are never made twice by dispatchers at work at once', async () => {
      await world().job({ shards: range(0, 40).map(() => 1) });
      const taken = (await Promise.all(range(0, 8).map(() => offers(5)))).flat();
      expect(new Set(taken.map(({ id }) => id)).size).toBe(taken.length);
      let rest = 0;
      for (let more = await offers(40); more.length > 0; more = await offers(40)) rest += more.length;
      expect(taken.length + rest).toBe(40);
    });

    it('are picked from the queues of all projects, with what each job holds', async () => {
      const large = await world().job({ shards: range(0, 30).map(() => 1) });
      world().nowMs += 1;
      const small = await world().job({ shards: [1, 1], projectId: 'proj_two' });
      await world().claim(
        (await offers(2))[0] ?? (await world().shards(large))[0] ?? expect.fail('no shard'),
      );
      let seen: unknown = null;
      const picked = await world().ledger.takeOffers({
        staleBeforeMs: 0,
        limit: 3,
        nowMs: world().nowMs,
        pick: (queues, limit) => {
          const queuesByAge = queues.toSorted((left, right) => left.createdAtMs - right.createdAtMs);
          seen = queuesByAge.map(({ shards, ...queue }) => ({
            ...queue,
            next: shards.map((one) => one.ordinal),
          }));
          expect(limit).toBe(3);
          return queuesByAge.flatMap(({ shards }) => shards.slice(0, 1));
        },
      });
      const of = (job: JobRecord) => ({
        jobId: job.id,
        projectId: job.projectId,
        priority: 'normal',
        createdAtMs: job.createdAtMs,
        expiresAtMs: job.expiresAtMs,
        expectedOutputTokens: 256,
        suspectsHeld: 0,
      });
      const project = { weight: 1, maxRunningItems: null };
      expect(seen).toEqual([
        { ...of(large), held: 2, project: { ...project, heldItems: 2 }, next: [2, 3, 4] },
        { ...of(small), held: 0, project: { ...project, heldItems: 0 }, next: [0, 1] },
      ]);
      expect(picked.map((shard) => [shard.jobId, shard.ordinal])).toEqual([
        [large.id, 2],
        [small.id, 0],
      ]);
      expect((await offers(40)).map((shard) => [shard.jobId, shard.ordinal]).slice(0, 2)).toEqual([
        [large.id, 3],
        [large.id, 4],
      ]);
    });

    it('are picked knowing how many suspects are held, of whatever job', async () => {
      const suspected = await world().job({ shards: [4] });
      for (const _ of range(0, 2)) {
        await world().claimNext(suspected);
        world().nowMs += LEASE_MS;
        await world().expire();
      }
      const [half] = (await world().shards(suspected)).filter(({ state }) => state === 'ready');
      if (half === undefined) throw new Error('the shard was not halved');
      const suspectsHeld = async () => {
        let held: number[] = [];
        await world().ledger.takeOffers({
          staleBeforeMs: 0,
          limit: 1,
          nowMs: world().nowMs,
          pick: (queues) => {
            held = queues.map((queue) => queue.suspectsHeld);
            return [];
          },
        });
        return held;
      };
      await world().job({ shards: [1], projectId: 'proj_two' });
      expect(await suspectsHeld()).toEqual([0, 0]);
      await world().claim(half);
      expect(await suspectsHeld()).toEqual([1, 1]);
    });

    it('are picked among no more jobs of a project than could be offered', async () => {
      for (const _ of range(0, 5)) await world().job({ shards: [1] });
      await world().job({ shards: [1], projectId: 'proj_two' });
      const projects = new Map<string, number>();
      await world().ledger.takeOffers({
        staleBeforeMs: 0,
        limit: 2,
        nowMs: world().nowMs,
        pick: (queues) => {
          for (const { projectId } of queues) projects.set(projectId, (projects.get(projectId) ?? 0) + 1);
          return [];
        },
      });
      expect(Object.fromEntries(projects)).toEqual({ [world().project]: 2, proj_two: 1 });
      expect(await offers(10), 'nothing was marked').toHaveLength(6);
    });

    it('are not made for shards that are leased, done or stopped', async () => {
      const job = await world().job({ shards: [1, 1, 1] });
      const [first, second] = await world().shards(job);
      if (first === undefined || second === undefined) throw new Error('no shards');
      await world().settleAll(await world().claim(first));
      await world().claim(second);
      expect((await offers(10)).map(({ ordinal }) => ordinal)).toEqual([2]);
      await world().stop(job);
      expect(await offers(10, { staleBeforeMs: world().nowMs + 1 })).toEqual([]);
    });
  });

  describe('I3: a claim', () => {
    it('is won by one of many runners, and moves the job to running', async () => {
      const job = await world().job({ shards: [2] });
      const [shard] = await offers(1);
      const answers = await Promise.all(
        range(0, 20).map((number) => claimAt(shard?.id ?? '', 0, `run_${number}`)),
      );
      const won = answers.filter((answer) => answer.outcome === 'claimed');
      expect(won).toHaveLength(1);
      expect(
        answers.filter((answer) => answer.outcome === 'refused' && answer.reason === 'stale'),
      ).toHaveLength(19);
      expect(won[0]?.shard).toMatchObject({
        state: 'leased',
        epoch: 1,
        leaseUntilMs: world().nowMs + LEASE_MS,
      });
      expect(won[0]?.job).toEqual(await world().current(job));
      expect(won[0]?.job).toMatchObject({ state: 'running', startedAtMs: world().nowMs });
    });

    it('is refused at any epoch but the newest, and epochs only grow', async () => {
      const job = await world().job({ shards: [2] });
      const lease = await world().claimNext(job);
      expect(await world().ledger.releaseShard({ shardId: lease.id, epoch: 1, nowMs: world().nowMs })).toBe(
        true,
      );
      for (const epoch of [0, 2, -1]) {
        expect(await claimAt(lease.id, epoch)).toEqual({ outcome: 'refused', reason: 'stale' });
      }
      expect(await claimAt(lease.id, 1)).toMatchObject({ outcome: 'claimed', shard: { epoch: 2 } });
      expect(await claimAt('shard_unknown', 0)).toEqual({ outcome: 'refused', reason: 'unknown' });
    });

    it('I12: is refused once the job is being stopped', async () => {
      const job = await world().job({ shards: [1, 1] });
      const [, second] = await world().shards(job);
      await world().claimNext(job);
      await world().stop(job);
      expect(await claimAt(second?.id ?? '', 0)).toEqual({ outcome: 'refused', reason: 'ended' });
    });
  });

  describe('a renewal', () => {
    it('says of each lease in order whether it is held, lost or to be stopped', async () => {
      const { ledger } = world();
      const job = await world().job({ shards: [1, 1] });
      const stopped = await world().job({ shards: [1] });
      const held = await world().claimNext(job);
      const foreign = await world().claimNext(job, 'run_two');
      const stopping = await world().claimNext(stopped);
      await world().stop(stopped);
      world().nowMs += 10_000;
      const leases = [
        { shardId: stopping.id, epoch: 1 },
        { shardId: foreign.id, epoch: 1 },
        { shardId: held.id, epoch: 0 },
        { shardId: held.id, epoch: 1 },
        { shardId: 'shard_unknown', epoch: 1 },
      ];
      const renewed = await ledger.renewLeases({
        runnerId: 'run_one',
        leases,
        leaseMs: LEASE_MS,
        nowMs: world().nowMs,
      });
      expect(renewed).toMatchObject(
        leases.map((lease, place) => ({ ...lease, status: ['stop', 'lost', 'lost', 'held', 'lost'][place] })),
      );
      const until = async (shardId: string) => (await ledger.getShard({ shardId }))?.leaseUntilMs;
      expect(await until(held.id)).toBe(world().nowMs + LEASE_MS);
      expect(await until(stopping.id)).toBe(world().nowMs + LEASE_MS);
      expect(await until(foreign.id)).toBe(world().nowMs - 10_000 + LEASE_MS);
      expect(await ledger.renewLeases({ runnerId: 'run_one', leases: [], leaseMs: 1, nowMs: 0 })).toEqual([]);
    });

    it('keeps a lease that nobody has ended yet, and answers lost after it was', async () => {
      const { ledger } = world();
      const lease = await world().claimNext(await world().job({ shards: [1] }));
      const renew = () =>
        ledger.renewLeases({
          runnerId: 'run_one',
          leases: [{ shardId: lease.id, epoch: lease.epoch }],
          leaseMs: LEASE_MS,
          nowMs: world().nowMs,
        });
      world().nowMs += LEASE_MS;
      expect(await renew()).toMatchObject([{ status: 'held' }]);
      expect((await world().expire()).released).toBe(0);
      world().nowMs += LEASE_MS;
      expect((await world().expire()).released).toBe(1);
      expect(await renew()).toMatchObject([{ status: 'lost' }]);
    });
  });

  describe('a settle', () => {
    it('sets masks, counts, usage and a segment, and the last one moves the job to finalizing', async () => {
      const job = await world().job({ shards: [3, 1] });
      const first = await world().claimNext(job);
      const version = (await world().current(job)).version;
      expect(await world().settle(first, [2, 0], [2])).toEqual({
        outcome: 'settled',
        accepted: 2,
        repeated: 0,
        shardDone: false,
        stop: false,
        jobId: job.id,
        jobState: 'running',
      });
      expect(await world().ledger.getShard({ shardId: first.id })).toMatchObject({
        state: 'leased',
        doneMask: maskOf(0, 2),
        badMask: maskOf(2),
      });
      expect(await world().current(job)).toMatchObject({
        succeeded: 1,
        failed: 1,
        usage: { inputTokens: 20, cachedInputTokens: 8, outputTokens: 10, reasoningTokens: 2 },
        errorGroups: [{ code: 'engine_error', count: 1, sample: { index: 2, custom_id: 'item-2' } }],
        version: version + 1,
      });
      expect(await world().settle(first, [1])).toMatchObject({ shardDone: true, jobState: 'running' });
      expect(await world().ledger.getShard({ shardId: first.id })).toMatchObject({
        state: 'done',
        runnerId: null,
        leaseUntilMs: null,
      });
      world().nowMs += 5;
      expect(await world().settleAll(await world().claimNext(job))).toMatchObject({
        shardDone: true,
        stop: true,
        jobState: 'finalizing',
      });
      expect(await world().current(job)).toMatchObject({
        state: 'finalizing',
        endReason: 'completed',
        finalizingAtMs: world().nowMs,
      });
    });

    it('I5: changes nothing when it is repeated, during the lease and after it', async () => {
      const job = await world().job({ shards: [2] });
      const lease = await world().claimNext(job);
      await world().settle(lease, [0], [0]);
      const before = await world().current(job);
      expect(await world().settle(lease, [0])).toMatchObject({
        outcome: 'settled',
        accepted: 0,
        repeated: 1,
      });
      expect(await world().current(job)).toEqual(before);
      await world().ledger.releaseShard({ shardId: lease.id, epoch: lease.epoch, nowMs: world().nowMs });
      expect(await world().settle(lease, [0])).toMatchObject({
        outcome: 'settled',
        accepted: 0,
        repeated: 1,
      });
      await world().settleAll(await world().claimNext(job));
      const done = await world().ledger.getShard({ shardId: lease.id });
      expect(await world().settle({ ...lease, epoch: done?.epoch ?? 0 }, [0, 1])).toMatchObject({
        accepted: 0,
        repeated: 2,
        shardDone: true,
        jobState: 'finalizing',
      });
      expect(await world().ledger.listSegments({ jobId: job.id, limit: 10 })).toHaveLength(2);
    });

    it('takes the new items of a segment that repeats others, and the first line of an item', async () => {
      const job = await world().job({ shards: [4] });
      const lease = await world().claimNext(job);
      await world().settle(lease, [0, 1]);
      const answer = await world().ledger.settle({
        shardId: lease.id,
        epoch: lease.epoch,
        segment: { blobKey: 'k', bytes: 1 },
        outcomes: [outcomeOf(1, false), outcomeOf(2, true), outcomeOf(2, false), outcomeOf(3, true)],
        nowMs: world().nowMs,
      });
      expect(answer).toMatchObject({ accepted: 2, repeated: 2 });
      expect(await world().current(job)).toMatchObject({ succeeded: 4, failed: 0 });
      const segments = await world().ledger.listSegments({ jobId: job.id, limit: 10 });
      expect(segments.map(({ sequence, decided }) => [sequence, decided])).toEqual([
        [1, maskOf(0, 1)],
        [2, maskOf(2, 3)],
      ]);
    });

    it('I3: of an older epoch or a lease that is over is lost and changes nothing', async () => {
      const job = await world().job({ shards: [2] });
      const old = await world().claimNext(job);
      await world().ledger.releaseShard({ shardId: old.id, epoch: old.epoch, nowMs: world().nowMs });
      expect(await world().settle(old, [0])).toEqual({ outcome: 'lost' });
      const current = await world().claimNext(job);
      expect(await world().settle(old, [0])).toEqual({ outcome: 'lost' });
      expect(await world().settle({ ...current, epoch: current.epoch + 1 }, [0])).toEqual({
        outcome: 'lost',
      });
      expect(await world().settle({ ...current, id: 'shard_unknown' }, [0])).toEqual({ outcome: 'lost' });
      expect(await world().current(job)).toMatchObject({ succeeded: 0, failed: 0 });
    });

    it('with an item of another shard is refused whole', async () => {
      const job = await world().job({ shards: [2, 2] });
      const lease = await world().claimNext(job);
      await expect(world().settle(lease, [0, 2])).rejects.toThrow(RangeError);
      await expect(world().settle(lease, [-1])).rejects.toThrow(RangeError);
      expect((await world().current(job)).succeeded).toBe(0);
    });

    it('counts right when many come at once, doubled and shuffled', async () => {
      const job = await world().job({ shards: range(0, 8).map(() => 16) });
      const leases: ShardRecord[] = [];
      for (const _ of range(0, 8)) leases.push(await world().claimNext(job));
      const settles = leases.flatMap((lease) =>
        range(0, 4).flatMap((part) => {
          const indices = range(lease.first + part * 4, lease.first + part * 4 + 4);
          return [
            () => world().settle(lease, indices, indices.slice(0, 1)),
            () => world().settle(lease, indices),
          ];
        }),
      );
      const answers = await Promise.all(settles.map((run, place) => settles[(place * 37) % 64]?.() ?? run()));
      const accepted = answers.map((answer) => (answer.outcome === 'settled' ? answer.accepted : 0));
      expect(accepted.reduce((sum, count) => sum + count, 0)).toBe(128);
      const after = await world().current(job);
      expect([after.state, after.succeeded + after.failed]).toEqual(['finalizing', 128]);
      const segments = await world().ledger.listSegments({ jobId: job.id, limit: 100 });
      expect(segments.map(({ sequence }) => sequence)).toEqual(range(1, segments.length + 1));
    });
  });
}
