import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord, ShardRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { Metrics } from '../telemetry/metrics.js';
import { CLOCK, CONFIG, LEDGER, SIGNALS } from '../tokens.js';
import type { OutageWatch } from './outage-watch.js';

/** Leases or jobs handled in one transaction. */
const BATCH = 100;

/** What time does to leases and jobs. Every step is a compare-and-set: two sweepers at once do no harm. */
@Injectable()
export class Sweeper {
  readonly #ledger: Ledger;
  readonly #signals: Signals;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(SIGNALS) signals: Signals,
    @Inject(Metrics) metrics: Metrics,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
  ) {
    this.#ledger = ledger;
    this.#signals = signals;
    this.#metrics = metrics;
    this.#clock = clock;
    this.#config = config;
  }

  /** One sweep; the single items that lost too many leases, for `PoisonedItems` to fail. */
  async tick(outages: OutageWatch): Promise<readonly ShardRecord[]> {
    const expired = await this.#listExpired(outages);
    const nowMs = this.#clock.nowMs();
    const outageMs = outages.alive(nowMs);
    if (outageMs > 0) {
      // I13, and first of all: what seems to be over now may not be after that.
      await this.#ledger.forgiveOutage({ leaseMs: this.#config.leaseMs, outageMs, nowMs });
      return [];
    }
    const poisoned = await this.#expireLeases();
    await this.#expireJobs(expired);
    await this.#advanceStopping();
    return poisoned;
  }

  /** The first question of a sweep, by which it is also seen whether the ledger answers at all. */
  async #listExpired(outages: OutageWatch): Promise<JobRecord[]> {
    try {
      return await this.#ledger.listExpired({ nowMs: this.#clock.nowMs(), limit: BATCH });
    } catch (error) {
      outages.failed();
      throw error;
    }
  }

  async #expireLeases(): Promise<readonly ShardRecord[]> {
    const ended = await this.#ledger.expireLeases({ nowMs: this.#clock.nowMs(), limit: BATCH });
    for (const jobId of ended.jobIds) this.#signals.emit('job-changed', jobId);
    if (ended.released > 0) {
      this.#metrics.leasesLost.inc(ended.released);
      this.#signals.emit('work-ready');
      this.#signals.emit('stopped-released');
    }
    return ended.poisoned;
  }

  async #expireJobs(expired: readonly JobRecord[]): Promise<void> {
    for (const { id } of expired) {
      const stopped = await this.#ledger.stopJob({
        projectId: null,
        id,
        reason: 'expired',
        nowMs: this.#clock.nowMs(),
      });
      if (stopped?.outcome !== 'stopping') continue;
      this.#signals.emit('job-changed', id);
      this.#signals.emit('job-stopping', id, 'expired');
      if (stopped.job.state === 'finalizing') this.#signals.emit('job-finalizing', id);
    }
  }

  /** I12: a stopped job waits for its runners' last settles, but not for ever. */
  async #advanceStopping(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const graceBeforeMs = nowMs - this.#config.stopGraceMs;
    for (const jobId of await this.#ledger.advanceStopping({ graceBeforeMs, nowMs })) {
      this.#signals.emit('job-changed', jobId);
      this.#signals.emit('job-finalizing', jobId);
    }
  }
}
