import type { RenewRequest, RenewResponse, RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { CLOCK, CONFIG, LEDGER } from '../tokens.js';

/** A runner's heartbeat: its report is kept, its leases go on, and it learns which of them it must drop or stop. */
@Injectable()
export class RenewLeases {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#config = config;
  }

  async run(request: RenewRequest): Promise<RenewResponse> {
    const { leases, ...report } = request;
    const nowMs = this.#clock.nowMs();
    const { leaseMs } = this.#config;
    await this.#ledger.saveRunner({ report: report satisfies RunnerReport, nowMs });
    if (leases.length === 0) return { leases: [] };
    const renewed = await this.#ledger.renewLeases({
      runnerId: report.runner_id,
      leases: leases.map((lease) => ({ shardId: lease.shard_id, epoch: lease.epoch })),
      leaseMs,
      nowMs,
    });
    return {
      leases: renewed.map(({ shardId, epoch, status }) => ({
        shard_id: shardId,
        epoch,
        status,
        lease_ms: status === 'lost' ? 0 : leaseMs,
      })),
    };
  }
}
