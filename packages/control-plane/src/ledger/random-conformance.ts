import { isTerminal, terminalState } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { JobRecord, ShardRecord } from '../ports/records.js';
import { LEASE_MS, type LedgerWorld, NO_OUTPUT, openIndices, range } from './world-conformance.js';

const SEEDS = 12;
const STEPS = 250;

/** Random histories of several jobs: whatever comes in whatever order, every item ends once (I2, I3, I6, I12). */
export function randomConformance(world: () => LedgerWorld): void {
  describe('a random history', () => {
    it.each(range(1, SEEDS + 1))('ends every item exactly once, seed %d', async (seed) => {
      const history = new History(world(), seed);
      await history.begin();
      for (const step of range(0, STEPS)) {
        await history.step();
        if (step % 50 === 49) await history.check();
      }
      await history.drain();
      await history.check();
    });
  });
}

class History {
  readonly #world: LedgerWorld;
  readonly #random: () => number;
  readonly #jobs: JobRecord[] = [];
  /** Offers and leases ever seen: many are stale by the time they are used. */
  readonly #offers: ShardRecord[] = [];
  readonly #leases: ShardRecord[] = [];

  constructor(world: LedgerWorld, seed: number) {
    this.#world = world;
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
    for (const _ of range(0, 3)) {
      this.#jobs.push(
        await this.#world.job({
          shards: range(0, 1 + this.#below(4)).map(() => 1 + this.#below(9)),
          projectId: this.#pick(['proj_one', 'proj_two']) ?? 'proj_one',
          priority: this.#pick(['high', 'normal', 'low'] as const) ?? 'normal',
        }),
      );
    }
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
    else await this.#endAndRetry();
  }

  async #offer(): Promise<void> {
    const staleBeforeMs = this.#world.nowMs - this.#below(20_000);
    this.#offers.push(...(await this.#world.offers(1 + this.#below(4), { staleBeforeMs })));
  }

  async #claim(): Promise<void> {
    const offer = this.#pick(this.#offers);
    if (offer === undefined) return;
    const { ledger, nowMs } = this.#world;
    const runnerId = `run_${this.#below(3)}`;
    const answer = await ledger.claimShard({
      shardId: offer.id,
      epoch: offer.epoch,
      runnerId,
      leaseMs: LEASE_MS,
      nowMs,
    });
    if (answer.outcome !== 'claimed') return;
    expect(answer.shard.epoch).toBe(offer.epoch + 1);
    expect(answer.job.state).toBe('running');
    expect(openIndices(answer.shard).length, 'a claimed shard has work').toBeGreaterThan(0);
    this.#leases.push(answer.shard);
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
    for (const _ of range(0, 200)) {
      const open = await Promise.all(this.#jobs.map((job) => world.current(job)));
      if (open.every(({ state }) => isTerminal(state))) return;
      world.nowMs += LEASE_MS;
      await this.#sweep();
      for (const shard of await world.offers(100, { staleBeforeMs: world.nowMs + 1 })) {
        await world.settleAll(await world.claim(shard));
      }
      for (const __ of this.#jobs) await this.#finalize();
    }
    expect.fail('a job does not come to its end');
  }

  async check(): Promise<void> {
    for (const job of this.#jobs) await this.#world.checkAccounting(job.id, job.projectId);
  }
}
