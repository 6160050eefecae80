import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import { servedModels } from '../dispatch/served-models.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { CLOCK, CONFIG, LEDGER } from '../tokens.js';
import { Metrics } from './metrics.js';

/** How long what was read stands, however often somebody looks. */
const KEPT_MS = 2_000;
/** Models with series of their own: those that runners serve, since names in jobs are the clients' to invent. */
export const SHOWN_MODELS = 200;
export const OTHER_MODELS = 'other';

/** Gauges that are read from the ledger when somebody looks. */
@Injectable()
export class LedgerGauges {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #metrics: Metrics;
  #refreshedMs = Number.NEGATIVE_INFINITY;
  #refreshing: Promise<void> = Promise.resolve();

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

  /**
   * Reads again what is older than some seconds. Leaves the last values standing when the ledger does not answer: its own
   * metrics say so.
   */
  refresh(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#refreshedMs >= KEPT_MS) {
      this.#refreshedMs = nowMs;
      this.#refreshing = this.#refresh().catch(() => {
        this.#metrics.ledgerUp.set(0);
        this.#refreshedMs = Number.NEGATIVE_INFINITY;
      });
    }
    return this.#refreshing;
  }

  async #refresh(): Promise<void> {
    const { shards, offersOutstanding, runners, itemsInFlight, ledgerUp } = this.#metrics;
    const seenAfterMs = this.#clock.nowMs() - this.#config.leaseMs;
    const reports = (await this.#ledger.listRunners({ seenAfterMs })).map(({ report }) => report);
    const served = [...servedModels(reports, SHOWN_MODELS)];
    const lanes = await this.#ledger.backlog({ models: served, others: OTHER_MODELS });
    shards.reset();
    offersOutstanding.reset();
    for (const lane of lanes) {
      const { model, priority } = lane;
      shards.set({ model, priority, state: 'ready' }, lane.readyShards);
      shards.set({ model, priority, state: 'leased' }, lane.leasedShards);
      shards.set({ model, priority, state: 'paused' }, lane.pausedShards);
      shards.set({ model, priority, state: 'budget' }, lane.budgetShards);
      offersOutstanding.set({ model, priority }, lane.offeredShards);
    }
    runners.set(reports.length);
    itemsInFlight.set(reports.reduce((sum, report) => sum + report.in_flight, 0));
    ledgerUp.set(1);
  }
}
