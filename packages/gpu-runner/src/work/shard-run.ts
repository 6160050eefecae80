import { hasBit, indexesFromBase64, type Mask, maskFromBase64 } from '@batch-infer/contracts';
import type { Lease } from '@batch-infer/contracts/runner-protocol';
import type { Settler } from '../loop/settler.js';
import type { WorkItem } from './item.js';
import { Twins } from './twins.js';

/**
 * - `open`: items run.
 * - `closing`: nothing starts any more; what is done is being settled, then the rest is released.
 * - `doubtful`: the lease may be over by our own clock; as `closing`, but the control plane may say that it is lost.
 * - `closed`: nothing of it counts any more.
 */
export type RunPhase = 'open' | 'closing' | 'doubtful' | 'closed';

/** A leased shard while this runner works on it. */
export class ShardRun {
  readonly lease: Lease;
  readonly settler: Settler;
  /** By our own clock, judged from the moment the lease was asked for. */
  leaseEndsAtMs: number;
  /** By our own clock, as the control plane last said: for urgency only, since it alone ends jobs. */
  jobEndsAtMs: number;
  phase: RunPhase = 'open';
  /** Items that are queued, waiting or in flight. */
  readonly items = new Set<WorkItem>();
  /** Items without an outcome, those not read yet included. */
  undecided: number;
  /** Ends the reading of lines. */
  readonly reading = new AbortController();
  /** `null` when every item is to run. */
  readonly twins: Twins | null;
  readonly #done: Mask;
  /** Of shards whose items do not stand side by side in the input. */
  readonly #indexes: Uint32Array | null;

  constructor(lease: Lease, settler: Settler, claimedAtMs: number) {
    this.lease = lease;
    this.settler = settler;
    this.leaseEndsAtMs = claimedAtMs + lease.lease_ms;
    this.jobEndsAtMs = claimedAtMs + lease.remaining_ms;
    this.twins = lease.reuse === true ? new Twins() : null;
    this.#done = maskFromBase64(lease.done_mask);
    this.#indexes = lease.indexes === undefined ? null : indexesFromBase64(lease.indexes);
    let undecided = 0;
    for (let position = 0; position < lease.count; position += 1)
      if (!hasBit(this.#done, position)) undecided += 1;
    this.undecided = undecided;
  }

  /** Input index of the item on a line of the shard. */
  indexAt(position: number): number {
    return this.#indexes?.[position] ?? this.lease.first_index + position;
  }

  /** False for items that had ended before this lease. */
  wants(position: number): boolean {
    return position < this.lease.count && !hasBit(this.#done, position);
  }
}
