import type { RenewRequest, RenewResponse, RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { ANY_RUNNER, type RunnerIdentity } from '../ports/runners.js';
import { CLOCK, CONFIG, LEDGER } from '../tokens.js';
import { RunnerRegistry } from './runner-registry.js';
import { ShardAccess } from './shard-access.js';

/** A runner's heartbeat: its report is kept, its leases go on, and it learns which of them it must drop or stop. */
@Injectable()
export class RenewLeases {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #access: ShardAccess;
  readonly #registry: RunnerRegistry;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
    @Inject(ShardAccess) access: ShardAccess,
    @Inject(RunnerRegistry) registry: RunnerRegistry,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#config = config;
    this.#access = access;
    this.#registry = registry;
  }

  /**
   * Leases of shards beyond its project, and of another key, are lost, like unknown ones.
   * @throws DomainError as `RunnerRegistry.save`
   */
  async run(request: RenewRequest, identity: RunnerIdentity = ANY_RUNNER): Promise<RenewResponse> {
    const { leases, ...report } = request;
    const nowMs = this.#clock.nowMs();
    const { leaseMs } = this.#config;
    await this.#registry.save(report satisfies RunnerReport, identity);
    if (leases.length === 0) return { leases: [] };
    const mine = new Set<string>();
    for (const lease of leases) {
      if (await this.#access.mayTouch(identity.projectId, lease.shard_id)) mine.add(lease.shard_id);
    }
    const renewed = await this.#ledger.renewLeases({
      runnerId: report.runner_id,
      keyId: identity.keyId,
      leases: leases
        .filter((lease) => mine.has(lease.shard_id))
        .map((lease) => ({ shardId: lease.shard_id, epoch: lease.epoch })),
      leaseMs,
      nowMs,
    });
    const known = new Map(renewed.map((lease) => [`${lease.shardId} ${lease.epoch}`, lease]));
    return {
      leases: leases.map(({ shard_id, epoch }) => {
        const { status = 'lost', expiresAtMs } = known.get(`${shard_id} ${epoch}`) ?? {};
        return {
          shard_id,
          epoch,
          status,
          lease_ms: status === 'lost' ? 0 : leaseMs,
          ...(expiresAtMs === undefined ? {} : { remaining_ms: Math.max(0, expiresAtMs - nowMs) }),
        };
      }),
    };
  }
}
