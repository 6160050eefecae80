import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { StoreBusyError } from '../ports/outage.js';
import type { JobRecord, ShardRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { Metrics } from '../telemetry/metrics.js';
import { CLOCK, CONFIG, LEDGER, SIGNALS } from '../tokens.js';
import type { OutageWatch } from './outage-watch.js';

/** Leases or jobs handled in one transaction. */
const BATCH = 100;
/** A ledger that answered something within this is no ledger that is away. */
const WELL_MS = 5_000;

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

  /**
   * One sweep. `poisoned`: the single items that lost too many leases, for `PoisonedItems` to fail; `again`: there is
   * more than one sweep handles.
   */
  async tick(
    outages: OutageWatch,
  ): Promise<{ readonly poisoned: readonly ShardRecord[]; readonly again: boolean }> {
    // I13, and first of all: what seems to be over now may not be after that.
    if (await this.forgiveOutage(outages)) return { poisoned: [], again: true };
    const expired = await this.#ledger.listExpired({ nowMs: this.#clock.nowMs(), limit: BATCH });
    const leases = await this.#expireLeases();
    await this.#expireJobs(expired);
    const stopped = await this.#advanceStopping();
    return {
      poisoned: leases.poisoned,
      again: leases.released >= BATCH || expired.length >= BATCH || stopped >= BATCH,
    };
  }

  /** Looks whether the ledger is well, and gives back the time that was lost before; whether there was any. */
  async forgiveOutage(outages: OutageWatch): Promise<boolean> {
    try {
      const nowMs = this.#clock.nowMs();
      const outageMs = await outages.lostMs(nowMs);
      if (outageMs > 0) {
        await this.#ledger.forgiveOutage({ leaseMs: this.#config.leaseMs, outageMs, nowMs });
      }
      await outages.alive(nowMs);
      return outageMs > 0;
    } catch (error) {
      // With all connections in use the ledger is well: nothing is forgiven for that.
      if (!(error instanceof StoreBusyError && this.#ledger.silentForMs() < WELL_MS)) outages.failed();
      throw error;
    }
  }

  async #expireLeases(): Promise<{ poisoned: readonly ShardRecord[]; released: number }> {
    const ended = await this.#ledger.expireLeases({ nowMs: this.#clock.nowMs(), limit: BATCH });
    for (const jobId of ended.jobIds) this.#signals.emit('job-changed', jobId);
    if (ended.released > 0) {
      this.#metrics.leasesLost.inc(ended.released);
      this.#signals.emit('work-ready');
      this.#signals.emit('stopped-released');
    }
    return ended;
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
  async #advanceStopping(): Promise<number> {
    const nowMs = this.#clock.nowMs();
    const graceBeforeMs = nowMs - this.#config.stopGraceMs;
    const advanced = await this.#ledger.advanceStopping({ graceBeforeMs, nowMs });
    for (const jobId of advanced) {
      this.#signals.emit('job-changed', jobId);
      this.#signals.emit('job-finalizing', jobId);
    }
    return advanced.length;
  }
}
