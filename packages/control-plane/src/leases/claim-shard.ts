import type { ClaimRequest, ClaimResponse } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import { forgetOldest } from '../forget-oldest.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { StoreUnavailableError } from '../ports/outage.js';
import { ANY_RUNNER, type RunnerIdentity } from '../ports/runners.js';
import type { Signals } from '../ports/signals.js';
import type { Logger } from '../telemetry/logger.js';
import { Metrics } from '../telemetry/metrics.js';
import { CLOCK, CONFIG, LEDGER, LOGGER, SIGNALS } from '../tokens.js';
import { toLease } from './lease-view.js';

/** When the ledger does not answer, runners keep the offer and ask again after this. */
const BUSY_RETRY_MS = 1_000;
/** Claims of one shard that may fail for a reason of its own before its offer is refused; it is offered again later. */
const FAILURES_BEFORE_REFUSED = 3;
const REMEMBERED_FAILURES = 1_000;

/** Turns an offer into a lease (I3): only at the epoch that was offered, and only once. */
@Injectable()
export class ClaimShard {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #signals: Signals;
  readonly #metrics: Metrics;
  readonly #logger: Logger;
  /** Claims that failed in a row, by shard. */
  readonly #failed = new Map<string, number>();

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
    @Inject(SIGNALS) signals: Signals,
    @Inject(Metrics) metrics: Metrics,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#config = config;
    this.#signals = signals;
    this.#metrics = metrics;
    this.#logger = logger;
  }

  /**
   * Never throws: a ledger that does not answer makes the claim `busy`, so that no offer is forgotten (I7). The same runner
   * may claim again at the same epoch with the same key, when it got no answer: it is given the same lease.
   */
  async run(request: ClaimRequest, { keyId }: RunnerIdentity = ANY_RUNNER): Promise<ClaimResponse> {
    const nowMs = this.#clock.nowMs();
    const { leaseMs } = this.#config;
    const claimed = await this.#claim({
      shardId: request.shard_id,
      epoch: request.epoch,
      runnerId: request.runner_id,
      keyId,
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
      const claimed = await this.#ledger.claimShard(params);
      this.#failed.delete(params.shardId);
      return claimed;
    } catch (error) {
      // The sweeper's loop and readiness report a ledger that does not answer.
      if (error instanceof StoreUnavailableError) return null;
      return this.#failedForItsOwnReason(params.shardId, error);
    }
  }

  /** Something is wrong with this shard alone: it must not keep the others of its lane waiting. */
  #failedForItsOwnReason(shardId: string, error: unknown): { outcome: 'refused'; reason: 'stale' } | null {
    const failures = (this.#failed.get(shardId) ?? 0) + 1;
    this.#failed.delete(shardId);
    this.#failed.set(shardId, failures);
    forgetOldest(this.#failed, REMEMBERED_FAILURES);
    this.#logger.error({ err: error, shard: shardId, failures }, 'a shard cannot be claimed');
    this.#metrics.claims.inc({ outcome: 'failed' });
    return failures < FAILURES_BEFORE_REFUSED ? null : { outcome: 'refused', reason: 'stale' };
  }
}
