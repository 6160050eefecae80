import { isTerminal, terminalState } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { JobRecord, ShardRecord } from '../ports/records.js';
import { WatchedJobs } from './watched-jobs-conformance.js';
import { LEASE_MS, type LedgerWorld, NO_OUTPUT, openIndices, range, shardsOf } from './world-conformance.js';

const STEPS = 250;
const MAX_JOBS = 6;
/** What a dozen histories are sure to show. */
const USUAL_EDGES = [
  'validating → queued',
  'validating → cancelling',
  'queued → running',
  'queued → finalizing',
  'running → cancelling',
  'running → finalizing',
  'cancelling → finalizing',
  'finalizing → succeeded',
  'finalizing → failed',
  'finalizing → cancelled',
  'finalizing → expired',
  'cancelled → queued',
];

/**
 * Random histories of several jobs: whatever comes in whatever order, every item ends once (I2, I3, I6, I12), states
 * move only along the edges of the life cycle, and counts always sum to the total, in every dialect.
 */
export function randomConformance(world: () => LedgerWorld, histories: number): void {
  describe('random histories', () => {
    const edges = new Set<string>();

    it.each(range(1, histories + 1))('end every item exactly once, seed %d', async (seed) => {
      const watched = new WatchedJobs(world().ledger, edges);
      const history = new History(world().over(watched.ledger), seed, watched);
      await history.begin();
      for (const step of range(0, STEPS)) {
        await history.step();
        if (step % 50 === 49) await history.check();
      }
      await history.drain();
      await history.check();
    });

    it('have been through the whole life cycle', () => {
      expect([...edges]).toEqual(expect.arrayContaining(USUAL_EDGES));
    });
  });
}

class History {
  readonly #world: LedgerWorld;
  readonly #random: () => number;
  readonly #watched: WatchedJobs;
  readonly #jobs: JobRecord[] = [];
  readonly #unplanned: JobRecord[] = [];
  /** Offers and leases ever seen: many are stale by the time they are used. */
  readonly #offers: ShardRecord[] = [];
  readonly #leases: ShardRecord[] = [];

  constructor(world: LedgerWorld, seed: number, watched: WatchedJobs) {
    this.#world = world;
    this.#watched = watched;
    let state = seed;
    this.#random = () => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state / 2 ** 31;
    };
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(values: readonly T[]): T | undefined {
    return values[this.#below(values.length)];
  }

  async begin(): Promise<void> {
    for (const _ of range(0, 3)) await this.#create();
  }

  async #create(): Promise<void> {
    const shards = range(0, 1 + this.#below(4)).map(() => 1 + this.#below(9));
    const projectId = this.#pick(['proj_one', 'proj_two']) ?? 'proj_one';
    const priority = this.#pick(['high', 'normal', 'low'] as const) ?? 'normal';
    const options = this.#random() < 0.3 ? { max_error_rate: 0.1 } : {};
    const isPlanned = this.#random() < 0.7;
    const create = { shards, projectId, priority, isPlanned, overrides: { options } };
    const job = await this.#world.job(create);
    this.#jobs.push(job);
    if (!isPlanned) this.#unplanned.push(job);
    this.#watched.add(job);
    await this.#watched.look();
  }

  /** What the planner makes of a job: its shards, or a refusal of its input. */
  async #plan(): Promise<void> {
    const job = this.#unplanned.pop();
    if (job === undefined) return;
    const { ledger, nowMs } = this.#world;
    const errors = [{ line: 1, param: null, code: 'invalid_json', message: 'Line 1 is not JSON' }];
    const isRefused = this.#random() < 0.2 && (await ledger.refuseJob({ jobId: job.id, errors, nowMs }));
    if (isRefused) return;
    const shards = shardsOf([job.total]);
    expect(await ledger.planJob({ jobId: job.id, shards, models: job.models, nowMs })).toBe(true);
  }

  async #pause(): Promise<void> {
    const job = this.#pick(this.#jobs);
    if (job === undefined) return;
    const { ledger, nowMs } = this.#world;
    const paused = this.#random() < 0.4;
    await ledger.setPaused({ projectId: job.projectId, id: job.id, paused, nowMs });
  }

  async step(): Promise<void> {
    const choice = this.#below(100);
    if (choice < 20) await this.#offer();
    else if (choice < 45) await this.#claim();
    else if (choice < 72) await this.#settle();
    else if (choice < 78) await this.#release();
    else if (choice < 84) await this.#renew();
    else if (choice < 92) await this.#sweep();
    else if (choice < 94) await this.#stop();
    else if (choice < 97) await this.#endAndRetry();
    else if (choice < 98) await this.#pause();
    else if (choice < 99) await this.#plan();
    else if (this.#jobs.length < MAX_JOBS) await this.#create();
  }

  async #offer(): Promise<void> {
    const staleBeforeMs = this.#world.nowMs - this.#below(20_000);
    this.#offers.push(...(await this.#world.offers(1 + this.#below(4), { staleBeforeMs })));
  }

  async #claim(): Promise<void> {
    const offer = this.#pick(this.#offers);
    const lease = offer === undefined ? null : await this.#claimAt(offer);
    if (lease !== null) this.#leases.push(lease);
  }

  async #claimAt(offer: ShardRecord): Promise<ShardRecord | null> {
    const { ledger, nowMs } = this.#world;
    const runnerId = `run_${this.#below(3)}`;
    const answer = await ledger.claimShard({
      shardId: offer.id,
      epoch: offer.epoch,
      runnerId,
      leaseMs: LEASE_MS,
      nowMs,
    });
    if (answer.outcome !== 'claimed') return null;
    expect(answer.shard.epoch).toBe(offer.epoch + 1);
    expect(answer.job.state).toBe('running');
    expect(openIndices(answer.shard).length, 'a claimed shard has work').toBeGreaterThan(0);
    return answer.shard;
  }

  async #settle(): Promise<void> {
    const lease = this.#pick(this.#leases);
    if (lease === undefined) return;
    const indices = range(lease.first, lease.first + lease.count).filter(() => this.#random() < 0.6);
    const bad = indices.filter(() => this.#random() < 0.2);
    const before = await this.#world.ledger.getShard({ shardId: lease.id });
    const answer = await this.#world.settle(lease, indices, bad);
    if (answer.outcome === 'lost') return;
    expect(answer.accepted + answer.repeated).toBe(indices.length);
    if (answer.accepted > 0) expect([before?.state, before?.epoch]).toEqual(['leased', lease.epoch]);
  }

  async #release(): Promise<void> {
    const lease = this.#pick(this.#leases);
    if (lease === undefined) return;
    const { ledger, nowMs } = this.#world;
    await ledger.releaseShard({ shardId: lease.id, epoch: lease.epoch, nowMs });
  }

  async #renew(): Promise<void> {
    const leases = this.#leases.slice(-4).map(({ id, epoch }) => ({ shardId: id, epoch }));
    const { ledger, nowMs } = this.#world;
    await ledger.renewLeases({ runnerId: `run_${this.#below(3)}`, leases, leaseMs: LEASE_MS, nowMs });
  }

  async #sweep(): Promise<void> {
    const world = this.#world;
    world.nowMs += this.#below(LEASE_MS);
    const { poisoned } = await world.expire();
    for (const shard of poisoned) {
      const job = this.#jobs.find(({ id }) => id === shard.jobId);
      const { pausedAtMs = null } = (job && (await world.ledger.getJob(job))) ?? {};
      // It fails when its job goes on.
      if (pausedAtMs !== null) continue;
      const lease = await world.claim(shard, 'sweeper');
      expect(openIndices(lease)).toHaveLength(1);
      await world.settleAll(lease, openIndices(lease));
    }
    await world.ledger.advanceStopping({ graceBeforeMs: world.nowMs - 10_000, nowMs: world.nowMs });
  }

  async #stop(): Promise<void> {
    const job = this.#pick(this.#jobs);
    if (job === undefined) return;
    const stopped = await this.#world.stop(job, this.#random() < 0.5 ? 'expired' : 'cancelled');
    if (stopped?.outcome !== 'stopping') return;
    const states = (await this.#world.shards(job)).map(({ state }) => state);
    expect(states, 'I12: nothing is left to start').not.toContain('ready');
  }

  async #endAndRetry(): Promise<void> {
    await this.#finalize();
    const job = this.#pick(this.#jobs);
    if (job === undefined || this.#random() < 0.4) return;
    const statuses = (['failed', 'expired', 'cancelled'] as const).filter(() => this.#random() < 0.5);
    await this.#world.ledger.retryJob({
      projectId: job.projectId,
      id: job.id,
      statuses,
      expiresAtMs: this.#world.nowMs + 1_000_000,
      nowMs: this.#world.nowMs,
    });
  }

  async #finalize(): Promise<void> {
    const { ledger, nowMs } = this.#world;
    const job = await ledger.claimFinalization({ owner: 'finalizer', claimMs: 1, nowMs });
    if (job === null) return;
    const neverRun = job.total - job.succeeded - job.failed;
    const reason = job.endReason ?? 'completed';
    if (reason === 'completed') expect(neverRun, 'a completed job has run all its items').toBe(0);
    const finished = await ledger.finishJob({
      jobId: job.id,
      owner: 'finalizer',
      state: terminalState({ reason, succeeded: job.succeeded, total: job.total }),
      cancelled: reason === 'expired' ? 0 : neverRun,
      expired: reason === 'expired' ? neverRun : 0,
      ...NO_OUTPUT,
      nowMs,
    });
    expect(finished).toBe(true);
  }

  /** I4: once capacity exists every job comes to its end. */
  async drain(): Promise<void> {
    const world = this.#world;
    while (this.#unplanned.length > 0) await this.#plan();
    for (const { projectId, id } of this.#jobs) {
      await world.ledger.setPaused({ projectId, id, paused: false, nowMs: world.nowMs });
    }
    for (const _ of range(0, 200)) {
      const open = await Promise.all(this.#jobs.map((job) => world.current(job)));
      if (open.every(({ state }) => isTerminal(state))) return;
      world.nowMs += LEASE_MS;
      await this.#sweep();
      this.#offers.push(...(await world.offers(100, { staleBeforeMs: world.nowMs + 1 })));
      for (const offer of this.#offers.splice(0)) {
        // Another shard's settle may have stopped the job.
        const lease = await this.#claimAt(offer);
        if (lease !== null) await world.settleAll(lease);
      }
      for (const __ of this.#jobs) await this.#finalize();
    }
    expect.fail('a job does not come to its end');
  }

  async check(): Promise<void> {
    for (const job of this.#jobs) await this.#world.checkAccounting(job.id, job.projectId);
    await this.#watched.checkViews(this.#world.nowMs);
  }
}
