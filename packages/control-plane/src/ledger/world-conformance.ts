import {
  countBits,
  emptyMask,
  hasBit,
  itemError,
  newId,
  type Priority,
  setBit,
} from '@batch-infer/contracts';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { expect } from 'vitest';
import type { IdempotencyClaim, Ledger, NewShard } from '../ports/ledger.js';
import type { FileRecord, ItemOutcome, JobRecord, ShardRecord } from '../ports/records.js';

export interface LedgerHarness {
  readonly ledger: Ledger;
  close(): Promise<void>;
}

/** Opens a migrated ledger that holds nothing. */
export type OpenLedgerHarness = () => Promise<LedgerHarness>;

export const LEASE_MS = 30_000;
export const NO_OUTPUT = { outputFile: null, errorFile: null } as const;

/** A ledger with its own clock, and short words for what tests do with it. */
export class LedgerWorld {
  readonly ledger: Ledger;
  readonly project = 'proj_one';
  readonly #harness: LedgerHarness;
  readonly #jobs: { id: string; projectId: string }[] = [];
  nowMs = 1_800_000_000_000;

  constructor(harness: LedgerHarness) {
    this.#harness = harness;
    this.ledger = harness.ledger;
  }

  async close(): Promise<void> {
    try {
      for (const { id, projectId } of this.#jobs) await this.checkAccounting(id, projectId);
    } finally {
      await this.#harness.close();
    }
  }

  /** The same world, with this ledger before its own. */
  over(ledger: Ledger): LedgerWorld {
    const world = new LedgerWorld({ ledger, close: async () => undefined });
    world.nowMs = this.nowMs;
    return world;
  }

  claimOf(overrides: Partial<IdempotencyClaim> = {}): IdempotencyClaim {
    return {
      projectId: this.project,
      route: 'POST /v1/jobs',
      key: null,
      fingerprint: 'f'.repeat(64),
      isRetry: false,
      ...overrides,
    };
  }

  fileRecord(overrides: Partial<FileRecord> = {}): FileRecord {
    const id = newId('file', this.nowMs);
    return {
      id,
      projectId: this.project,
      purpose: 'batch',
      filename: 'input.jsonl',
      bytes: 1_000,
      sha256: null,
      blobKey: `${this.project}/files/${id}`,
      summary: null,
      internal: false,
      createdAtMs: this.nowMs,
      expiresAtMs: null,
      ...overrides,
    };
  }

  async file(overrides: Partial<FileRecord> = {}): Promise<FileRecord> {
    const file = this.fileRecord(overrides);
    const idempotency = this.claimOf({ route: 'POST /v1/files', projectId: file.projectId });
    await this.ledger.createFile({ file, idempotency, nowMs: this.nowMs });
    return file;
  }

  jobRecord(file: FileRecord, overrides: Partial<JobRecord> = {}): JobRecord {
    return {
      id: newId('job', this.nowMs),
      projectId: file.projectId,
      state: 'validating',
      dialect: 'native',
      usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
      inputFileId: file.id,
      inputBlobKey: file.blobKey,
      options: {},
      models: ['model-a'],
      priority: 'normal',
      completionWindow: '24h',
      total: 4,
      succeeded: 0,
      failed: 0,
      reused: 0,
      cancelled: 0,
      expired: 0,
      errorGroups: [],
      inputErrors: [],
      pausedAtMs: null,
      problem: null,
      giveUpAtMs: null,
      endReason: null,
      outputFileId: null,
      errorFileId: null,
      version: 1,
      createdAtMs: this.nowMs,
      queuedAtMs: null,
      startedAtMs: null,
      finalizingAtMs: null,
      cancellingAtMs: null,
      finishedAtMs: null,
      expiresAtMs: this.nowMs + 24 * 3_600_000,
      ...overrides,
    };
  }

  /** A queued job whose shards have these numbers of items. */
  async job(options: {
    shards: readonly number[];
    model?: string;
    priority?: Priority;
    projectId?: string;
    overrides?: Partial<JobRecord>;
    /** False: it waits for its planner. */
    isPlanned?: boolean;
  }): Promise<JobRecord> {
    const model = options.model ?? 'model-a';
    const file = await this.file({ projectId: options.projectId ?? this.project });
    const job = this.jobRecord(file, {
      total: options.shards.reduce((sum, count) => sum + count, 0),
      models: [model],
      priority: options.priority ?? 'normal',
      ...options.overrides,
    });
    const created = await this.ledger.createJob({
      job,
      file: null,
      shards: options.isPlanned === false ? null : shardsOf(options.shards, model),
      idempotency: this.claimOf({ projectId: job.projectId, fingerprint: job.id }),
      nowMs: this.nowMs,
    });
    if (created.outcome !== 'created') throw new Error(`the job was ${created.outcome}`);
    this.watch(job);
    return created.record;
  }

  /** The accounting of this job is checked when the world ends. */
  watch(job: { id: string; projectId: string }): void {
    this.#jobs.push(job);
  }

  async current(job: { id: string; projectId: string }): Promise<JobRecord> {
    const found = await this.ledger.getJob({ projectId: job.projectId, id: job.id });
    if (found === null) throw new Error('the job is gone');
    return found;
  }

  shards(job: { id: string }): Promise<ShardRecord[]> {
    return this.ledger.listShards({ jobId: job.id, fromOrdinal: 0, toOrdinal: 1_000_000 });
  }

  offers(limit: number, options: { models?: string[]; staleBeforeMs?: number } = {}): Promise<ShardRecord[]> {
    return this.ledger.takeOffers({ staleBeforeMs: 0, limit, nowMs: this.nowMs, ...options });
  }

  expire(limit = 100): ReturnType<Ledger['expireLeases']> {
    return this.ledger.expireLeases({ nowMs: this.nowMs, limit });
  }

  /** Claims one shard, at the epoch it has now. */
  async claim(shard: ShardRecord, runnerId = 'run_one'): Promise<ShardRecord> {
    const current = await this.ledger.getShard({ shardId: shard.id });
    const epoch = current?.epoch ?? 0;
    const claimed = await this.ledger.claimShard({
      shardId: shard.id,
      epoch,
      runnerId,
      leaseMs: LEASE_MS,
      nowMs: this.nowMs,
    });
    if (claimed.outcome !== 'claimed') throw new Error(`the claim was refused: ${claimed.reason}`);
    return claimed.shard;
  }

  /** Claims the job's first shard that is ready. */
  async claimNext(job: { id: string }, runnerId = 'run_one'): Promise<ShardRecord> {
    const ready = (await this.shards(job)).find((shard) => shard.state === 'ready');
    if (ready === undefined) throw new Error('no shard is ready');
    return this.claim(ready, runnerId);
  }

  /** Settles these items of a leased shard; those of `bad` have failed. */
  settle(shard: ShardRecord, indices: readonly number[], bad: readonly number[] = []) {
    return this.ledger.settle({
      shardId: shard.id,
      epoch: shard.epoch,
      segment: { blobKey: `${shard.projectId}/segments/${newId('seg')}`, bytes: 100 },
      outcomes: indices.map((index) => outcomeOf(index, !bad.includes(index))),
      nowMs: this.nowMs,
    });
  }

  /** Settles all open items of a leased shard. */
  settleAll(shard: ShardRecord, bad: readonly number[] = []) {
    return this.settle(shard, openIndices(shard), bad);
  }

  /** Claims and settles all that is ready. */
  async runAll(job: { id: string }, bad: readonly number[] = []): Promise<void> {
    for (const shard of await this.shards(job)) {
      if (shard.state === 'ready') await this.settleAll(await this.claim(shard), bad);
    }
  }

  /** Brings a `finalizing` job to its end, with the counts that its masks give. */
  async finish(job: { id: string; projectId: string }, state: JobRecord['state']): Promise<JobRecord> {
    const claimed = await this.ledger.claimFinalization({
      jobId: job.id,
      owner: 'finalizer',
      claimMs: 60_000,
      nowMs: this.nowMs,
    });
    if (claimed === null) throw new Error('the job does not wait for its finalizer');
    const neverRun = claimed.total - claimed.succeeded - claimed.failed;
    const expired = claimed.endReason === 'expired';
    const finished = await this.ledger.finishJob({
      jobId: job.id,
      owner: 'finalizer',
      state,
      cancelled: expired ? 0 : neverRun,
      expired: expired ? neverRun : 0,
      ...NO_OUTPUT,
      nowMs: this.nowMs,
    });
    expect(finished).toBe(true);
    return this.current(job);
  }

  async stop(job: JobRecord, reason: 'cancelled' | 'expired' = 'cancelled') {
    return this.ledger.stopJob({ projectId: job.projectId, id: job.id, reason, nowMs: this.nowMs });
  }

  /**
   * I2: the shards cover every item once; the masks agree with the counts; every ended item was decided by exactly one
   * segment, and no other item by any.
   */
  async checkAccounting(jobId: string, projectId: string): Promise<void> {
    const job = await this.ledger.getJob({ projectId, id: jobId });
    if (job === null || (await this.ledger.countOrdinals({ jobId })) === 0) return;
    const shards = await this.shards({ id: jobId });
    const done = new Set<number>();
    let bad = 0;
    let next = 0;
    for (const shard of shards.toSorted((left, right) => left.first - right.first)) {
      expect(shard.first, 'shards follow each other without gap').toBe(next);
      next += shard.count;
      for (let position = 0; position < shard.count; position += 1) {
        if (hasBit(shard.doneMask, position)) done.add(shard.first + position);
      }
      bad += countBits(shard.badMask);
    }
    expect(next, 'shards cover all items').toBe(job.total);
    expect(done.size, 'ended items').toBe(job.succeeded + job.failed);
    expect(bad, 'failed items').toBe(job.failed);
    expect(await this.decidedItems(jobId), 'items decided by exactly one segment').toEqual(
      [...done].sort((left, right) => left - right),
    );
    if (['succeeded', 'failed', 'cancelled', 'expired'].includes(job.state)) {
      expect(job.succeeded + job.failed + job.cancelled + job.expired).toBe(job.total);
    }
  }

  /** Indices that segments decided, with repetitions, ascending. */
  async decidedItems(jobId: string): Promise<number[]> {
    const decided: number[] = [];
    for (const segment of await this.ledger.listSegments({ jobId, limit: 100_000 })) {
      for (let position = 0; position < 256; position += 1) {
        if (hasBit(segment.decided, position)) decided.push(segment.first + position);
      }
    }
    return decided.sort((left, right) => left - right);
  }
}

/** Contiguous shards of these numbers of items. */
export function shardsOf(counts: readonly number[], model = 'model-a'): NewShard[] {
  let first = 0;
  return counts.map((count) => {
    const shard = { first, count, offset: first * 100, bytes: count * 100, model };
    first += count;
    return shard;
  });
}

export function outcomeOf(index: number, ok = true): ItemOutcome {
  return {
    index,
    customId: `item-${index}`,
    ok,
    error: ok ? null : itemError('engine_error'),
    usage: { inputTokens: 10, cachedInputTokens: 4, outputTokens: 5, reasoningTokens: 1 },
  };
}

/** Indices of a shard's items that have not ended. */
export function openIndices(shard: ShardRecord): number[] {
  const indices: number[] = [];
  for (let position = 0; position < shard.count; position += 1) {
    if (!hasBit(shard.doneMask, position)) indices.push(shard.first + position);
  }
  return indices;
}

export function maskOf(...positions: number[]): Uint8Array {
  const mask = emptyMask();
  for (const position of positions) setBit(mask, position);
  return mask;
}

export function runnerReport(id: string): RunnerReport {
  return {
    runner_id: id,
    version: '0.1.0',
    models: ['model-a'],
    engines: [],
    free_slots: 4,
    in_flight: 0,
    items_per_second: 1.5,
  };
}

/** The numbers from `from` to `to`, exclusive. */
export const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, offset) => from + offset);
