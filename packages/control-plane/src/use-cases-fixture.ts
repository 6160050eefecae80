import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  encodeSegmentLine,
  itemError,
  newId,
  type Priority,
  type SegmentHeader,
} from '@batch-infer/contracts';
import type { Lease, Offer, RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher } from '@batch-infer/transport';
import { openBlobs } from './blobs/open-blobs.js';
import { type ControlPlaneConfig, parseControlPlaneConfig } from './config.js';
import { Dispatcher } from './dispatch/dispatcher.js';
import { OutageWatch } from './dispatch/outage-watch.js';
import { PoisonedItems } from './dispatch/poisoned-items.js';
import { Sweeper } from './dispatch/sweeper.js';
import { ClaimShard } from './leases/claim-shard.js';
import { ReadShardLines } from './leases/read-shard-lines.js';
import { ReleaseShard } from './leases/release-shard.js';
import { RenewLeases } from './leases/renew-leases.js';
import { RunnerRegistry } from './leases/runner-registry.js';
import { RunnerSessions } from './leases/runner-sessions.js';
import { SettleSegment } from './leases/settle-segment.js';
import { ShardAccess } from './leases/shard-access.js';
import { openLedger } from './ledger/sql-ledger.js';
import type { Ledger, NewShard } from './ports/ledger.js';
import type { FileRecord, JobRecord } from './ports/records.js';
import { Signals } from './ports/signals.js';
import { silentLogger } from './telemetry/logger.js';
import { Metrics } from './telemetry/metrics.js';

const NO_USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 };

const ALWAYS_MS = 10 * 365 * 86_400_000;

/** Time that only the test moves. */
export class ManualClock {
  #nowMs = 1_800_000_000_000;

  nowMs(): number {
    return this.#nowMs;
  }

  advance(durationMs: number): void {
    this.#nowMs += durationMs;
  }
}

/** A pushing transport that only remembers. */
export class RecordingPublisher implements OfferPublisher {
  readonly offers: Offer[] = [];
  down = false;

  async publish(params: { offers: readonly Offer[] }): Promise<void> {
    if (this.down) throw new Error('the brokers are away');
    this.offers.push(...params.offers);
  }

  health() {
    return { state: this.down ? 'down' : 'up', reason: null } as const;
  }

  async close(): Promise<void> {}
}

export interface NewJob {
  readonly items: number;
  readonly shardItems?: number;
  readonly model?: string;
  readonly projectId?: string;
  readonly priority?: Priority;
  readonly expiresInMs?: number;
  readonly maxErrorRate?: number;
  /** False: it waits for its planner. */
  readonly isPlanned?: boolean;
  /** Plan order is the input backwards. */
  readonly backwards?: boolean;
}

export type UseCases = Awaited<ReturnType<typeof openUseCases>>;

/** Every use case of leases and dispatch over a real SQLite ledger and a real folder, with time in the test's hand. */
export async function openUseCases(
  settings: {
    config?: Record<string, string>;
    publisher?: OfferPublisher;
    /** Models that a runner which is never missed serves; `["m"]`. */
    served?: readonly string[];
  } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-use-cases-'));
  const config: ControlPlaneConfig = parseControlPlaneConfig({
    BATCH_INFER_DATA: folder,
    ...settings.config,
  });
  const clock = new ManualClock();
  const ledger = await openLedger({ sqliteFile: join(folder, 'ledger.db'), clock });
  await ledger.migrate();
  const { served = ['m'] } = settings;
  if (served.length > 0) {
    const nowMs = clock.nowMs() + ALWAYS_MS;
    await ledger.saveRunner({ report: reportOf('runner-always', served), nowMs });
  }
  const blobs = await openBlobs(config);
  const signals = new Signals();
  const metrics = new Metrics();
  const recorder = new RecordingPublisher();
  const publisher = settings.publisher ?? recorder;
  const settle = new SettleSegment(ledger, blobs, clock, signals, metrics);
  const sweeper = new Sweeper(ledger, signals, metrics, clock, config);
  const poisoned = new PoisonedItems(ledger, blobs, clock, config, settle);
  const outages = watchOutages(ledger);

  async function createJob(params: NewJob): Promise<JobRecord> {
    const { items, shardItems = 256, model = 'm', projectId = 'default' } = params;
    const nowMs = clock.nowMs();
    const lines = Array.from({ length: items }, (_, index) =>
      Buffer.from(`${JSON.stringify({ custom_id: `id-${index}`, body: { prompt: `p${index}` } })}\n`),
    );
    const planned = params.backwards === true ? lines.toReversed() : lines;
    const shards: NewShard[] = [];
    let offset = 0;
    for (let first = 0; first < items; first += shardItems) {
      const part = planned.slice(first, first + shardItems);
      const bytes = part.reduce((sum, line) => sum + line.length, 0);
      shards.push({ first, count: part.length, offset, bytes, model });
      offset += bytes;
    }
    const fileId = newId('file');
    const blobKey = `${projectId}/inputs/${fileId}`;
    await blobs.put({ key: blobKey, body: Buffer.concat(lines) });
    const file: FileRecord = {
      id: fileId,
      projectId,
      purpose: 'batch',
      filename: 'input.jsonl',
      bytes: offset,
      sha256: null,
      blobKey,
      summary: null,
      internal: true,
      createdAtMs: nowMs,
      expiresAtMs: null,
    };
    const job: JobRecord = {
      id: newId('job'),
      projectId,
      state: params.isPlanned === false ? 'validating' : 'queued',
      dialect: 'native',
      inputFileId: fileId,
      inputBlobKey: blobKey,
      options: params.maxErrorRate === undefined ? {} : { max_error_rate: params.maxErrorRate },
      models: [model],
      priority: params.priority ?? 'normal',
      completionWindow: '24h',
      total: items,
      succeeded: 0,
      failed: 0,
      reused: 0,
      cancelled: 0,
      expired: 0,
      usage: NO_USAGE,
      errorGroups: [],
      inputErrors: [],
      pausedAtMs: null,
      problem: null,
      giveUpAtMs: null,
      endReason: null,
      outputFileId: null,
      errorFileId: null,
      version: 1,
      createdAtMs: nowMs,
      queuedAtMs: params.isPlanned === false ? null : nowMs,
      startedAtMs: null,
      finalizingAtMs: null,
      cancellingAtMs: null,
      finishedAtMs: null,
      expiresAtMs: nowMs + (params.expiresInMs ?? 86_400_000),
    };
    const idempotency = { projectId, route: 'test', key: null, fingerprint: fileId, isRetry: false };
    const inPlace = planned === lines && params.isPlanned !== false ? shards : null;
    const created = await ledger.createJob({ job, file, shards: inPlace, idempotency, nowMs });
    if (created.outcome !== 'created') throw new Error(`the job was ${created.outcome}`);
    if (inPlace !== null || params.isPlanned === false) return created.record;
    const work = {
      blobKey: `${projectId}/work/${job.id}`,
      order: Uint32Array.from(lines.keys()).reverse(),
    };
    await blobs.put({ key: work.blobKey, body: Buffer.concat(planned) });
    await ledger.planJob({ jobId: job.id, shards, models: [model], work, nowMs });
    return (await ledger.getJob(job)) ?? created.record;
  }

  const registry = new RunnerRegistry(ledger, clock, config);
  const claim = new ClaimShard(ledger, clock, config, signals, metrics, silentLogger());

  return {
    config,
    clock,
    ledger,
    blobs,
    signals,
    metrics,
    recorder,
    publisher,
    claim,
    settle,
    renew: new RenewLeases(ledger, clock, config, new ShardAccess(ledger), registry),
    release: new ReleaseShard(ledger, clock, signals),
    lines: new ReadShardLines(ledger, blobs),
    dispatcher: new Dispatcher(ledger, publisher, clock, config, metrics),
    sessions: new RunnerSessions(ledger, clock, config, signals, silentLogger(), registry),
    createJob,
    getJob: async (job: Pick<JobRecord, 'id' | 'projectId'>): Promise<JobRecord> => {
      const record = await ledger.getJob(job);
      if (!record) throw new Error(`${job.id} is gone`);
      return record;
    },
    /** One sweep, poisoned items failed, as the sweeper's loop does. */
    sweep: async () => {
      for (const shard of (await sweeper.tick(outages)).poisoned) await poisoned.fail(shard);
    },
    /** Claims an offer that must succeed. */
    take: async (offer: Pick<Offer, 'shard_id' | 'epoch'>, runnerId = 'runner-1'): Promise<Lease> => {
      const answer = await claim.run({ runner_id: runnerId, shard_id: offer.shard_id, epoch: offer.epoch });
      if (answer.outcome !== 'claimed') throw new Error(`the claim was ${JSON.stringify(answer)}`);
      return answer.lease;
    },
    settleItems: (lease: Pick<Lease, 'shard_id' | 'epoch'>, indexes: readonly number[], ok = true) =>
      settle.run({ shardId: lease.shard_id, epoch: lease.epoch, body: chunks(segmentOf(indexes, ok)) }),
    segmentKeys: async (job: JobRecord): Promise<string[]> =>
      (await blobs.list({ prefix: `${job.projectId}/segments/${job.id}/` })).map(({ key }) => key),
    close: async () => {
      await blobs.close();
      await ledger.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Outcomes of these items as a runner would send them. */
export function segmentOf(indexes: readonly number[], ok = true): Uint8Array {
  return Buffer.concat(
    indexes.map((index) => {
      const header: SegmentHeader = {
        i: index,
        c: `id-${index}`,
        ok,
        st: ok ? 200 : 400,
        a: 1,
        ms: 5,
        r: `req_${index}`,
        ...(ok ? { u: [3, 0, 2, 0] as const } : { e: itemError('invalid_request') }),
      };
      return encodeSegmentLine(header, Buffer.from(ok ? `{"item":${index}}` : ''));
    }),
  );
}

export async function* chunks(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

export const reportOf = (runnerId: string, models: readonly string[] = ['m']): RunnerReport => ({
  runner_id: runnerId,
  version: '0.0.0',
  models: [...models],
  engines: [],
  free_slots: 64,
  in_flight: 0,
  items_per_second: 0,
});

/** As in a cluster, except that silence alone is nothing to forgive: tests let time pass by leaps. */
export const watchOutages = (ledger: Ledger, settings: { silenceMs?: number } = {}): OutageWatch =>
  new OutageWatch({
    lastAlive: { read: () => ledger.lastAliveMs(), write: (nowMs) => ledger.markAlive({ nowMs }) },
    thresholdMs: 5_000,
    silenceMs: settings.silenceMs ?? Number.POSITIVE_INFINITY,
  });
