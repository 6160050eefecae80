import type { ClaimRequest, ClaimResponse } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { Signals } from '../ports/signals.js';
import { Metrics } from '../telemetry/metrics.js';
import { CLOCK, CONFIG, LEDGER, SIGNALS } from '../tokens.js';
import { toLease } from './lease-view.js';

/** When the ledger does not answer, runners keep the offer and ask again after this. */
const BUSY_RETRY_MS = 1_000;

/** Turns an offer into a lease (I3): only at the epoch that was offered, and only once. */
@Injectable()
export class ClaimShard {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #signals: Signals;
  readonly #metrics: Metrics;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
    @Inject(SIGNALS) signals: Signals,
    @Inject(Metrics) metrics: Metrics,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#config = config;
    this.#signals = signals;
    this.#metrics = metrics;
  }

  /** Never throws: a ledger that does not answer makes the claim `busy`, so that no offer is forgotten (I7). */
  async run(request: ClaimRequest): Promise<ClaimResponse> {
    const nowMs = this.#clock.nowMs();
    const { leaseMs } = this.#config;
    const claimed = await this.#claim({
      shardId: request.shard_id,
      epoch: request.epoch,
      runnerId: request.runner_id,
      leaseMs,
      nowMs,
    });
    if (claimed === null) {
      this.#metrics.claims.inc({ outcome: 'busy' });
      return { outcome: 'busy', retry_after_ms: BUSY_RETRY_MS };
    }
    this.#signals.emit('shard-claimed', request.shard_id);
    if (claimed.outcome === 'refused') {
      this.#metrics.claims.inc({ outcome: claimed.reason });
      return claimed;
    }
    this.#metrics.claims.inc({ outcome: 'claimed' });
    this.#signals.emit('job-changed', claimed.job.id);
    return { outcome: 'claimed', lease: toLease({ shard: claimed.shard, job: claimed.job, leaseMs, nowMs }) };
  }

  async #claim(params: Parameters<Ledger['claimShard']>[0]) {
    try {
      return await this.#ledger.claimShard(params);
    } catch {
      // The sweeper's loop and readiness report a ledger that does not answer.
      return null;
    }
  }
}
