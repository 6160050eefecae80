import { indexesToBase64, LIMITS, maskToBase64 } from '@batch-infer/contracts';
import type { Lease } from '@batch-infer/contracts/runner-protocol';
import { sharesAnswers } from '../plan/wants-plan.js';
import type { JobRecord, ShardRecord } from '../ports/records.js';

/** A claimed shard as its runner sees it. */
export function toLease(params: {
  shard: ShardRecord;
  job: JobRecord;
  leaseMs: number;
  nowMs: number;
}): Lease {
  const { shard, job } = params;
  return {
    shard_id: shard.id,
    epoch: shard.epoch,
    job_id: job.id,
    model: shard.model,
    priority: shard.priority,
    lease_ms: params.leaseMs,
    remaining_ms: Math.max(0, job.expiresAtMs - params.nowMs),
    first_index: shard.first,
    ...(shard.indexes === undefined ? {} : { indexes: indexesToBase64(shard.indexes) }),
    count: shard.count,
    skip: shard.skip,
    done_mask: maskToBase64(shard.doneMask),
    lost_leases: shard.lostLeases,
    bytes: shard.bytes,
    ...(sharesAnswers(job.options) ? { reuse: true } : {}),
    endpoint: job.options.endpoint ?? null,
    default_model: job.options.model ?? null,
    defaults: job.options.defaults ?? null,
    item_timeout_ms: job.options.item_timeout_ms ?? LIMITS.itemTimeoutDefaultMs,
    max_attempts: job.options.max_attempts ?? LIMITS.maxAttemptsDefault,
  };
}
