import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { CLOCK, CONFIG, LEDGER } from '../tokens.js';
import { Metrics } from './metrics.js';

/** Gauges that are read from the ledger when somebody looks. */
@Injectable()
export class LedgerGauges {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #metrics: Metrics;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
    @Inject(Metrics) metrics: Metrics,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#config = config;
    this.#metrics = metrics;
  }

  /** Leaves the last values standing when the ledger does not answer: its own metrics say so. */
  async refresh(): Promise<void> {
    try {
      await this.#refresh();
    } catch {
      this.#metrics.ledgerUp.set(0);
    }
  }

  async #refresh(): Promise<void> {
    const { shards, offersOutstanding, runners, itemsInFlight, ledgerUp } = this.#metrics;
    const lanes = await this.#ledger.backlog();
    const seenAfterMs = this.#clock.nowMs() - this.#config.leaseMs;
    const reports = await this.#ledger.listRunners({ seenAfterMs });
    shards.reset();
    offersOutstanding.reset();
    for (const { model, priority, readyShards, leasedShards, offeredShards } of lanes) {
      shards.set({ model, priority, state: 'ready' }, readyShards);
      shards.set({ model, priority, state: 'leased' }, leasedShards);
      offersOutstanding.set({ model, priority }, offeredShards);
    }
    runners.set(reports.length);
    itemsInFlight.set(reports.reduce((sum, { report }) => sum + report.in_flight, 0));
    ledgerUp.set(1);
  }
}
