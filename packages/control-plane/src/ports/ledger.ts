import type { EndReason, InputError, JobState, Priority } from '@batch-infer/contracts';
import type { AccessLedger } from './access.js';
import type { BlobReferenceLedger } from './blob-references.js';
import type { JobProblemLedger } from './job-problems.js';
import type { OfferLaneLedger } from './offer-lanes.js';
import type { PauseLedger } from './pausing.js';
import type { ProjectLimitsLedger } from './project-limits.js';
import type {
  FileRecord,
  ItemOutcome,
  JobRecord,
  SegmentRecord,
  ShardRecord,
  UsageTotals,
} from './records.js';
import type { PlannedReuse, ReuseLedger } from './reuse.js';
import type { RunnerLedger } from './runners.js';
import type { UploadLedger } from './uploads.js';
import type { WebhookLedger } from './webhooks.js';

/**
 * The ledger: the only authority on what is true. Every method is one transaction. Implementations: Kysely over SQLite
 * and over PostgreSQL; both run the conformance suite in `ledger/ledger-conformance.ts`.
 */
export interface Ledger
  extends AccessLedger,
    UploadLedger,
    PauseLedger,
    WebhookLedger,
    ProjectLimitsLedger,
    ReuseLedger,
    JobProblemLedger,
    BlobReferenceLedger,
    OfferLaneLedger,
    RunnerLedger {
  /**
   * Brings the schema up to date under a lock.
   * @param options.onWaiting another process holds the lock: called about every 10 seconds
   */
  migrate(options?: { onWaiting?: (seconds: number) => void }): Promise<void>;
  /** Answers when the database can be read and written. */
  check(): Promise<void>;
  /** The clock of the database's server, epoch milliseconds; `null` when it has none of its own (embedded). */
  serverTimeMs(): Promise<number | null>;
  /** How long ago the database last answered this process anything; 0 when it is part of the process. */
  silentForMs(): number;
  /** When a process last said `markAlive`; `null`: never. */
  lastAliveMs(): Promise<number | null>;
  /** Some process finds the ledger well: remembered for an outage in which all processes end. Written at most every 4 s. */
  markAlive(params: { nowMs: number }): Promise<void>;
  close(): Promise<void>;

  // ── files and jobs ─────────────────────────────────────────────────────────────────────────────────────────────
  createFile(params: {
    file: FileRecord;
    idempotency: IdempotencyClaim;
    nowMs: number;
  }): Promise<CreateOutcome<FileRecord>>;
  getFile(params: { projectId: string; id: string }): Promise<FileRecord | null>;
  /** Newest first unless `asc`, behind `after`. Without internal files; `summary` is left out (`null`). */
  listFiles(params: {
    projectId: string;
    purpose?: string;
    order?: 'asc' | 'desc';
    after?: string;
    limit: number;
  }): Promise<FileRecord[]>;
  /** Refuses (`in_use`) while a job that has not ended reads it. Returns the blob keys to delete. */
  deleteFile(params: {
    projectId: string;
    id: string;
  }): Promise<
    | { outcome: 'deleted'; blobKey: string; workBlobKeys: readonly string[] }
    | { outcome: 'in_use' | 'not_found' }
  >;
  /** Files whose `expiresAtMs` has passed and that no living job reads, removed; their blob keys, work files among them. */
  expireFiles(params: { nowMs: number; limit: number }): Promise<string[]>;

  /**
   * I1: the idempotency row, the input file (when it came with the job) and the job, in one transaction. With `shards`
   * the job is `queued` at once; without, it is `validating` and `planJob` follows.
   * @throws {DomainError} `not_found` when `file` is `null` and the input file is gone
   */
  createJob(params: {
    job: JobRecord;
    file: FileRecord | null;
    shards: readonly NewShard[] | null;
    idempotency: IdempotencyClaim;
    nowMs: number;
  }): Promise<CreateOutcome<JobRecord>>;
  /**
   * Inserts the shards of a `validating` job and moves it to `queued`. A job that was stopped before gets them too
   * (`stopped`, so that its items have a place in the results) and moves to `finalizing`. False when it has them already.
   * Items that `reuse` decides have ended with that; when none is left, the job moves to `finalizing` at once.
   * @throws {RangeError} when `reuse` decides an item twice, or one that is in no shard
   */
  planJob(params: {
    jobId: string;
    shards: readonly NewShard[];
    models: readonly string[];
    /** Where the shards lie and which item stands where in it, when that is not the input in its own order. */
    work?: WorkFile;
    /** Of a job that shares answers with others of its project. */
    reuse?: PlannedReuse;
    nowMs: number;
  }): Promise<boolean>;
  /**
   * Lets one of several planners work on a job without shards for `claimMs`; again by the same owner, longer. False when
   * another one does, or it has its shards.
   */
  claimPlanning(params: { jobId: string; owner: string; claimMs: number; nowMs: number }): Promise<boolean>;
  /** A job without shards → `failed` with the bad lines; it has no items then. */
  refuseJob(params: { jobId: string; errors: readonly InputError[]; nowMs: number }): Promise<boolean>;
  /**
   * Jobs without shards (`validating`, or stopped since) that nobody plans now and whose time to be tried again has come:
   * in turn over projects, the oldest of each first. `small`: those of one shard at most, or the others.
   */
  listUnplanned(params: {
    createdBeforeMs: number;
    small: boolean;
    limit: number;
    nowMs: number;
  }): Promise<JobRecord[]>;

  getJob(params: { projectId: string; id: string }): Promise<JobRecord | null>;
  /** Newest first. */
  listJobs(params: {
    projectId: string;
    states?: readonly JobState[];
    model?: string;
    metadata?: Readonly<Record<string, string>>;
    createdAfterMs?: number;
    dialect?: string;
    after?: string;
    /** The page that ends just before this job, still newest first. */
    before?: string;
    limit: number;
  }): Promise<JobRecord[]>;
  /** Jobs of all projects that ended at `endedByMs` or before, oldest first. */
  listEnded(params: { endedByMs: number; limit: number }): Promise<{ projectId: string; id: string }[]>;
  /**
   * Removes an ended job with its shards, its segments, the files it made and an input that came with it. The blobs are
   * the caller's to delete. With `endedByMs` only if it ended by then (it may run again since), and the files that it
   * made stay, for as long as each of them says.
   */
  deleteJob(params: {
    projectId: string;
    id: string;
    endedByMs?: number;
  }): Promise<{ outcome: 'deleted'; blobKeys: string[] } | { outcome: 'running' | 'not_found' }>;
  /** Items in leased shards that have not ended, and settled in the last `windowMs`: progress of a running job. */
  jobActivity(params: { jobId: string; nowMs: number; windowMs: number }): Promise<JobActivity>;
  /** What stands before a job in its lanes. */
  queuePosition(params: { jobId: string }): Promise<QueuePosition>;
  /**
   * Jobs that have not ended, that neither are paused nor wait for a budget, and that have not gone on since `sinceMs`: no
   * new state, and while they run no settle. Of each project and state the `perProject` that wait longest.
   */
  listSilent(params: { sinceMs: number; perProject: number; limit: number }): Promise<JobRecord[]>;
  /** Jobs that have not ended, by state and by whether they are held; `sinceMs`: since when the first of them waits. */
  countOpenJobs(): Promise<
    { state: JobState; wait: 'paused' | 'budget' | null; jobs: number; sinceMs: number }[]
  >;

  /**
   * Cancel or expire: `queued|running|validating` → `cancelling` (or `finalizing` at once when nothing is leased). No
   * shard of it can be claimed from now on (I12). Idempotent, the first reason stays. A `finalizing` job is left as it is,
   * but when its finalization fails and it is cancelled: it is tried again at once, and the next failure ends it. `null`
   * for an unknown job, `ended` when it has ended.
   */
  stopJob(params: {
    projectId: string | null;
    id: string;
    reason: EndReason;
    nowMs: number;
  }): Promise<{ outcome: 'stopping' | 'ended'; job: JobRecord } | null>;
  /**
   * Ended job → `queued` with the named items ready again; `nothing` when no item matches, `running` when not ended,
   * `input_gone` when its input file was deleted. Never-run items that are not named keep their status. The caller
   * deletes the obsolete output files.
   */
  retryJob(params: {
    projectId: string;
    id: string;
    statuses: readonly ('failed' | 'expired' | 'cancelled')[];
    expiresAtMs: number;
    nowMs: number;
  }): Promise<
    | { outcome: 'retrying'; job: JobRecord; items: number; obsoleteFileIds: string[] }
    | { outcome: 'nothing' | 'running' | 'input_gone' }
    | null
  >;

  /** Segments in completion order behind `afterSequence`. */
  listSegments(params: { jobId: string; afterSequence?: number; limit: number }): Promise<SegmentRecord[]>;
  /** Segments of the original shards `fromOrdinal` to `toOrdinal` (exclusive), by ordinal, then sequence. */
  listSegmentsByOrdinal(params: {
    jobId: string;
    fromOrdinal: number;
    toOrdinal: number;
  }): Promise<SegmentRecord[]>;
  /** Shards by ordinal, then first; `split` ones left out. */
  listShards(params: { jobId: string; fromOrdinal: number; toOrdinal: number }): Promise<ShardRecord[]>;
  /** Number of original shards of a job. */
  countOrdinals(params: { jobId: string }): Promise<number>;

  // ── leases (I3, I5, I6) ────────────────────────────────────────────────────────────────────────────────────────
  /**
   * Ready shards to offer, marked offered: never offered, or offered before `staleBeforeMs`. Highest priority first,
   * then earliest deadline, oldest job, ordinal; with `pick` as it says, and only what it returns is marked. `models`
   * and `projectId` limit them to what somebody serves.
   */
  takeOffers(params: {
    models?: readonly string[];
    projectId?: string | null;
    staleBeforeMs: number;
    limit: number;
    nowMs: number;
    pick?: OfferPicker;
  }): Promise<ShardRecord[]>;
  /** Ready shards are as if never offered: a publish failed, or who had the offers is dead. */
  withdrawOffers(params: { shardIds: readonly string[] }): Promise<void>;
  /** `ready` at exactly this epoch → `leased` at epoch + 1, held by this key; the job → `running`. */
  claimShard(params: {
    shardId: string;
    epoch: number;
    runnerId: string;
    keyId?: string | null;
    leaseMs: number;
    nowMs: number;
  }): Promise<
    | { outcome: 'claimed'; shard: ShardRecord; job: JobRecord }
    | { outcome: 'refused'; reason: 'stale' | 'ended' | 'unknown' }
  >;
  getShard(params: { shardId: string }): Promise<ShardRecord | null>;
  /** In the order asked. `lost` too for another key than the holder's. `stop`: the job is being stopped or is paused. */
  renewLeases(params: {
    runnerId: string;
    keyId?: string | null;
    leases: readonly { shardId: string; epoch: number }[];
    leaseMs: number;
    nowMs: number;
  }): Promise<RenewedLease[]>;
  /**
   * Merges the outcomes of a segment whose object is already stored. Items that had ended are left as they are. When
   * nothing is new, no segment row is written and the answer counts all as repeated. The last item of the last shard
   * moves the job to `finalizing`; too many failures (`max_error_rate`) stop it with the reason `error_limit`.
   * @throws {RangeError} when an outcome's index is not in the shard
   */
  settle(params: {
    shardId: string;
    epoch: number;
    segment: { blobKey: string; bytes: number };
    outcomes: readonly ItemOutcome[];
    nowMs: number;
  }): Promise<
    | {
        outcome: 'settled';
        accepted: number;
        repeated: number;
        shardDone: boolean;
        stop: boolean;
        jobId: string;
        /** State of the job after the settle. */
        jobState: JobState;
      }
    | { outcome: 'lost' }
  >;
  /**
   * `leased` at this epoch → `ready` (or `stopped` when its job is being stopped); not counted as lost. With `isLost` the
   * lease is over instead, and `expireLeases` counts it. False when stale, and for another key than the holder's.
   */
  releaseShard(params: {
    shardId: string;
    epoch: number;
    keyId?: string | null;
    isLost?: boolean;
    nowMs: number;
  }): Promise<boolean>;
  /**
   * Ends leases that are over, each in its own transaction: `ready` again with one more lost lease; after two the rest
   * of the shard is bisected; `poisoned`: shards of one open item after three, to be failed by the caller (`claimShard`,
   * `settle`). They are never offered and are named again by each call until they are claimed. `jobIds`: jobs that
   * changed.
   */
  expireLeases(params: {
    nowMs: number;
    limit: number;
  }): Promise<{ released: number; bisected: number; poisoned: ShardRecord[]; jobIds: string[] }>;
  /** Ends the leases of a runner that is known to be dead now: they expire at once. */
  expireRunner(params: { runnerId: string; nowMs: number }): Promise<number>;
  /**
   * I13: after the ledger was away every lease gets one full lease time, every job the time that was lost. Several
   * processes may report the same outage: time is given back once.
   */
  forgiveOutage(params: { leaseMs: number; outageMs: number; nowMs: number }): Promise<void>;

  // ── ending jobs ────────────────────────────────────────────────────────────────────────────────────────────────
  /** Jobs past `expiresAtMs` that have not ended and are not being stopped. */
  listExpired(params: { nowMs: number; limit: number }): Promise<JobRecord[]>;
  /** `cancelling` jobs to `finalizing`: those without leased shards, and after `graceBeforeMs` those with (fenced). */
  advanceStopping(params: { graceBeforeMs: number; nowMs: number }): Promise<string[]>;
  /**
   * `finalizing` jobs that nobody works on and whose time to be tried again has come, in turn over projects. `small`: those
   * of one shard at most, or the others.
   */
  listFinalizing(params: { small: boolean; limit: number; nowMs: number }): Promise<string[]>;
  /**
   * Takes one `finalizing` job that nobody works on (a time-limited claim), or `null`. With `jobId` the owner of a claim
   * extends it.
   */
  claimFinalization(params: {
    jobId?: string;
    owner: string;
    claimMs: number;
    nowMs: number;
  }): Promise<JobRecord | null>;
  /** `finalizing` → terminal, with its files, in one transaction; false when the claim was lost. */
  finishJob(params: {
    jobId: string;
    owner: string;
    state: JobState;
    cancelled: number;
    expired: number;
    outputFile: FileRecord | null;
    errorFile: FileRecord | null;
    /** The object with the ids of its never-run items. */
    idsBlobKey?: string;
    nowMs: number;
  }): Promise<boolean>;
  abandonFinalization(params: { jobId: string; owner: string }): Promise<void>;

  // ── upkeep ─────────────────────────────────────────────────────────────────────────────────────────────────────
  /** Drops idempotency rows older than their time. */
  forgetIdempotency(params: { explicitBeforeMs: number; implicitBeforeMs: number }): Promise<void>;
  /**
   * The lanes of these models that have shards to offer. `waitForBudget`: jobs wait for a budget, as of the last look; which
   * of them may go by now is found out by `takeOffers`.
   */
  laneLoads(params: { models: readonly string[] }): Promise<{ lanes: LaneLoad[]; waitForBudget: boolean }>;
  /**
   * Ready and leased shards, by lane; with `models` only of their lanes, and with `others` those of all other models
   * together, under that name.
   */
  backlog(params?: { models?: readonly string[]; others?: string }): Promise<LaneBacklog[]>;
}

export interface RenewedLease {
  readonly shardId: string;
  readonly epoch: number;
  readonly status: 'held' | 'lost' | 'stop';
  /** When its job expires; absent for a lost lease. */
  readonly expiresAtMs?: number;
}

/** What a lane has to offer, and what of it is offered. */
export interface LaneLoad {
  readonly model: string;
  readonly priority: Priority;
  /** Of jobs that neither are paused nor wait for a budget. */
  readonly readyShards: number;
  readonly readyItems: number;
  /** Offered and not yet claimed. */
  readonly offeredShards: number;
}

export interface LaneBacklog {
  readonly model: string;
  readonly priority: Priority;
  readonly readyShards: number;
  /** Those of the ready ones that were offered and not yet claimed. */
  readonly offeredShards: number;
  readonly leasedShards: number;
  readonly readyItems: number;
  /** Shards that could be ready, but for a pause or a budget; no part of the ready ones. */
  readonly pausedShards: number;
  readonly budgetShards: number;
}

/** The shards of one job that may be offered now. */
export interface OfferQueue {
  readonly jobId: string;
  readonly projectId: string;
  readonly priority: Priority;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  /** Output tokens to expect of one item: what its settled items had, or a guess. */
  readonly expectedOutputTokens: number;
  /** Shards of the job that are leased, or offered after `staleBeforeMs` and not yet claimed. */
  readonly held: number;
  readonly project: ProjectLoad;
  /** The next ones by ordinal, at most `limit`. */
  readonly shards: readonly ShardRecord[];
  /**
   * Suspects of the whole ledger that are leased, or offered and perhaps about to be: shards that have lost
   * `LIMITS.lostLeasesBeforeBisection` leases. The same number in every queue.
   */
  readonly suspectsHeld: number;
}

/** A project beside the others. */
export interface ProjectLoad {
  readonly weight: number;
  /** Items leased or offered at a time; `null`: no cap. */
  readonly maxRunningItems: number | null;
  /** Open items of its shards that are leased, or offered and perhaps about to be. */
  readonly heldItems: number;
}

/** Whose turn it is: at most `limit` shards of the queues, in the order to offer them. Pure. */
export type OfferPicker = (queues: readonly OfferQueue[], limit: number) => readonly ShardRecord[];

/**
 * How a create is recognised when it comes again. With `key` (the client's header) a row of that key decides: same
 * fingerprint → `replayed`, another → `conflict`. Without, `isRetry` (an SDK's own retry, `x-stainless-retry-count` >
 * 0) finds the newest create of the same content inside the implicit window; a first attempt always creates.
 */
export interface IdempotencyClaim {
  readonly projectId: string;
  /** e.g. `POST /v1/batches`. */
  readonly route: string;
  readonly key: string | null;
  /** SHA-256 (hex) of canonical JSON or of the uploaded bytes with the options. */
  readonly fingerprint: string;
  readonly isRetry: boolean;
}

export type CreateOutcome<T> =
  | { readonly outcome: 'created'; readonly record: T }
  | { readonly outcome: 'replayed'; readonly record: T }
  | { readonly outcome: 'conflict' };

/** A job's lines in plan order. */
export interface WorkFile {
  readonly blobKey: string;
  /** Input index of each item. */
  readonly order: Uint32Array;
}

export interface NewShard {
  readonly first: number;
  readonly count: number;
  readonly offset: number;
  readonly bytes: number;
  readonly model: string;
}

export interface JobActivity {
  /** Items of leased shards that have not ended. */
  readonly runningItems: number;
  /** Settled inside the window, and when the first of those segments was settled. */
  readonly settledItems: number;
  readonly settledUsage: UsageTotals;
  readonly oldestSettledAtMs: number | null;
  /** Since when the oldest of its leases runs. */
  readonly oldestLeaseAtMs: number | null;
  /** Of all times. */
  readonly lastSettledAtMs: number | null;
  /** Usual time between two settles; `null` before the second. */
  readonly settleIntervalMs: number | null;
}

export interface QueuePosition {
  /** Jobs of the same project that go first, and their items that wait. */
  readonly jobsAhead: number;
  readonly itemsAhead: number;
  /** Other projects with work for the same models, of the same priority or a higher one: the job takes turns with them. */
  readonly otherProjects: number;
  /** Items of the project that are leased or offered, against its cap; 0 without a cap. */
  readonly heldItems: number;
  readonly maxRunningItems: number | null;
}
