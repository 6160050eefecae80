import { z } from 'zod';
import { PRIORITIES } from './lifecycle.js';
import { LIMITS } from './limits.js';

/**
 * The runners' own protocol, under `/v1/runner/**`. A runner holds no database or bucket credentials: it learns of
 * shards by offers, takes leases here, reads a shard's lines here and hands outcomes over here.
 *
 * Every request carries `x-batch-infer-protocol`; another version is refused with both versions named.
 */
export const PROTOCOL_VERSION = 1;
export const PROTOCOL_HEADER = 'x-batch-infer-protocol';

/** What a runner or an engine serves. Bounded: whoever may run a runner may not fill the server with names. */
const servedNames = z.array(z.string().max(LIMITS.servedModelChars)).max(LIMITS.servedModels);

/** How often a shard was given out: more than the ledger can count is no epoch of ours. */
export const shardEpoch = z.int().min(0).max(2_147_483_647);

const id = z.string().max(LIMITS.idChars);
const runnerName = z.string().max(LIMITS.runnerNameChars);

/** "Shard S at epoch E waits in lane L." May be lost, doubled, reordered; never carries a payload. */
export const offer = z.object({
  shard_id: z.string(),
  /** The shard's epoch when it was offered; a claim at another epoch is refused as stale. */
  epoch: shardEpoch,
  /** `<priority>/<model>`. */
  lane: z.string(),
  model: z.string(),
  priority: z.enum(PRIORITIES),
  items: z.int(),
  job_id: z.string(),
  /** Absent in offers of older publishers. */
  project_id: z.string().optional(),
  /** Epoch milliseconds at the publisher. */
  offered_at_ms: z.int(),
});
export type Offer = z.infer<typeof offer>;

export const laneName = (priority: string, model: string): string => `${priority}/${model}`;

export const engineReport = z.object({
  /** Stable inside the runner: `engine-0`, … */
  id: runnerName,
  models: servedNames,
  healthy: z.boolean(),
  /** Requests that the runner keeps in flight at most. */
  window: z.number(),
  in_flight: z.int(),
  /** Why the engine takes no work, for `waiting_for`. */
  problem: z.string().max(LIMITS.engineProblemChars).nullable(),
  /** For how long that has been so, in milliseconds. Absent in reports of older runners, and without a problem. */
  problem_ms: z.number().min(0).optional(),
});

export const runnerReport = z.object({
  runner_id: runnerName,
  version: runnerName,
  models: servedNames,
  engines: z.array(engineReport).max(LIMITS.runnerEngines),
  /** Items the runner could take now. */
  free_slots: z.int(),
  in_flight: z.int(),
  items_per_second: z.number(),
});
export type RunnerReport = z.infer<typeof runnerReport>;

/**
 * `POST /v1/runner/session` with a `runnerReport`: an NDJSON stream of these, open as long as the runner lives. When it
 * breaks and the runner does not come back within some seconds, its leases end at once instead of at their time.
 */
export const sessionEvent = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('welcome'),
    lease_ms: z.int(),
    renew_interval_ms: z.int(),
    transport: z.enum(['direct', 'kafka']),
  }),
  z.object({ type: z.literal('ping') }),
  /** Stop these jobs' items now: settle what is done, abort the rest, release. */
  z.object({
    type: z.literal('stop'),
    job_ids: z.array(z.string()),
    reason: z.enum(['cancelled', 'expired', 'paused', 'error_limit']),
  }),
]);
export type SessionEvent = z.infer<typeof sessionEvent>;

/** `POST /v1/runner/offers`: the long poll of the direct transport. */
export const pollOffersRequest = z.object({
  runner_id: runnerName,
  models: servedNames,
  /** Offers wanted at most. */
  max: z.int().min(1).max(256),
  wait_ms: z.int().min(0).max(60_000),
});
export type PollOffersRequest = z.infer<typeof pollOffersRequest>;
export const pollOffersResponse = z.object({ offers: z.array(offer) });
export type PollOffersResponse = z.infer<typeof pollOffersResponse>;

/** `POST /v1/runner/claim`. */
export const claimRequest = z.object({
  runner_id: runnerName,
  shard_id: id,
  epoch: shardEpoch,
});
export type ClaimRequest = z.infer<typeof claimRequest>;

export const lease = z.object({
  shard_id: z.string(),
  /** The epoch of this lease: renew, settle and release must name it. */
  epoch: shardEpoch,
  job_id: z.string(),
  model: z.string(),
  priority: z.enum(PRIORITIES),
  /** How long the lease holds from now, by the control plane's clock. */
  lease_ms: z.int(),
  /** Time left until the job expires, by the control plane's clock. */
  remaining_ms: z.number(),
  /** Index of the shard's first item; of no meaning with `indexes`. */
  first_index: z.int(),
  /**
   * Input index of each item, in the order of the lines (base64 of 32-bit little-endian numbers): of shards whose items do
   * not stand side by side in the input. Without it they count up from `first_index`.
   */
  indexes: z.string().optional(),
  /** Items of the shard, ended ones included. */
  count: z.int(),
  /** Items (lines that are not blank) at the start of the shard's lines that belong to another shard: to be skipped. */
  skip: z.int().default(0),
  /** Items that have ended already (base64 of a 256-bit mask): not to be run. */
  done_mask: z.string(),
  /** Leases of this shard that ended without a word; its items may crash the engine: run them with care. */
  lost_leases: z.int(),
  /** Bytes of the shard's lines, as `GET /v1/runner/shards/{id}/lines?epoch=` answers them. */
  bytes: z.int(),
  /** Identical requests of the shard whose answer is determined may be run once, for all of them. */
  reuse: z.boolean().optional(),
  /** Endpoint of lines without `url`. */
  endpoint: z.string().nullable(),
  /** Model of bodies without `model`. */
  default_model: z.string().nullable(),
  /** Merged under each body. */
  defaults: z.record(z.string(), z.unknown()).nullable(),
  item_timeout_ms: z.int(),
  max_attempts: z.int(),
});
export type Lease = z.infer<typeof lease>;

export const claimResponse = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('claimed'), lease }),
  /** For good: the offer may be forgotten (and its Kafka offset committed). */
  z.object({ outcome: z.literal('refused'), reason: z.enum(['stale', 'ended', 'unknown']) }),
  /** Not now (ledger down, job paused): keep the offer, pause, ask again. */
  z.object({ outcome: z.literal('busy'), retry_after_ms: z.int() }),
]);
export type ClaimResponse = z.infer<typeof claimResponse>;

/** `POST /v1/runner/renew`: heartbeat and renewal in one. */
export const renewRequest = runnerReport.extend({
  leases: z.array(z.object({ shard_id: id, epoch: shardEpoch })).max(LIMITS.runnerLeases),
});
export type RenewRequest = z.infer<typeof renewRequest>;

export const renewResponse = z.object({
  leases: z.array(
    z.object({
      shard_id: z.string(),
      epoch: shardEpoch,
      /** `held`: goes on for `lease_ms`; `lost`: drop everything; `stop`: settle what is done, abort the rest, release. */
      status: z.enum(['held', 'lost', 'stop']),
      lease_ms: z.int(),
      /** Time left until the job expires now: it may have been extended. Of leases that are held. */
      remaining_ms: z.number().optional(),
    }),
  ),
});
export type RenewResponse = z.infer<typeof renewResponse>;

/**
 * `POST /v1/runner/shards/{id}/settle?epoch=&runner_id=` with a segment (`application/x-ndjson`, see `segment-line.ts`).
 * Idempotent. A stale epoch is answered 409 `lease_lost`.
 */
export const settleResponse = z.object({
  /** Items that this call ended. */
  accepted: z.int(),
  /** Items of the segment that had ended before. */
  repeated: z.int(),
  /** True when every item of the shard has ended: the lease is over, no release is needed. */
  shard_done: z.boolean(),
  /** True when the job is being stopped: abort the rest and release. */
  stop: z.boolean(),
  /**
   * Lines that were not taken, by their 0-based position in the segment, and why; the others were. Absent when all were
   * taken. A refused line is refused again: the runner settles its item as failed.
   */
  refused: z.array(z.object({ line: z.int(), reason: z.string() })).optional(),
});
export type SettleResponse = z.infer<typeof settleResponse>;

/** `POST /v1/runner/shards/{id}/release`. */
export const releaseRequest = z.object({
  runner_id: runnerName,
  epoch: shardEpoch,
  /**
   * `drain`: the runner ends; `engine_down`: its engine is gone; `stopped`: the job was stopped; `overload`: too much
   * taken; `refused`: an outcome was not taken in any form, which counts as a lost lease.
   */
  reason: z.enum(['drain', 'engine_down', 'stopped', 'overload', 'refused']),
});
export type ReleaseRequest = z.infer<typeof releaseRequest>;
export const releaseResponse = z.object({ released: z.boolean() });

/** `GET /v1/runners`. */
export const runnerView = z.object({
  id: z.string(),
  object: z.literal('runner'),
  models: z.array(z.string()),
  engines: z.array(engineReport),
  free_slots: z.int(),
  in_flight: z.int(),
  items_per_second: z.number(),
  version: z.string(),
  last_seen_at: z.string(),
});
export type RunnerView = z.infer<typeof runnerView>;
