import { Readable } from 'node:stream';
import { hasBit } from '@batch-infer/contracts';
import type { SettleResponse } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import { ByteBudget } from '../byte-budget.js';
import { DomainError } from '../errors.js';
import { recordObjects } from '../files/record-objects.js';
import { newSegmentBlobKey } from '../jobs/segment-key.js';
import { positionOf } from '../plan/positions.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { ItemOutcome, ShardRecord } from '../ports/records.js';
import { isHolder } from '../ports/runners.js';
import type { Signals } from '../ports/signals.js';
import { Metrics } from '../telemetry/metrics.js';
import { BLOBS, CLOCK, LEDGER, SIGNALS } from '../tokens.js';
import { leaseLost } from './lease-lost.js';
import { SegmentJudge } from './segment-judge.js';

/** What a segment has up to this is held at once; a longer one flows from the request into its object. */
const BUFFERED_BYTES = 4 * 1024 * 1024;
/** What one that flows may take meanwhile: the parts of an upload to S3. */
const STREAM_BYTES = 24 * 1024 * 1024;
/** What all segments may take that are being settled in this process. */
const BUDGET_BYTES = 64 * 1024 * 1024;
/** Well below the time after which a runner gives a settle up. */
const ROOM_WAIT_MS = 10_000;

/**
 * Takes a runner's outcomes: the segment becomes an object first, then one transaction decides which items it ends
 * (I2, I5, I6). An object that no transaction accepted is deleted, or found later by the orphan sweep.
 */
@Injectable()
export class SettleSegment {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #metrics: Metrics;
  readonly #budget = new ByteBudget({ bytes: BUDGET_BYTES });

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(Metrics) metrics: Metrics,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#signals = signals;
    this.#metrics = metrics;
  }

  /**
   * Settling the same segment again changes nothing and counts its items as `repeated`. A line that cannot be taken is
   * told in `refused`; the others are taken.
   * @throws DomainError `lease_lost` at a stale epoch and for another key than the holder's, `invalid_request` for a segment without lines, `body_too_large`
   * beyond `LIMITS.segmentBytes` (for a line alone, `LIMITS.answerBytes`), `unavailable` when too much is being settled
   */
  async run(params: {
    shardId: string;
    epoch: number;
    /** Absent: nobody's key is asked for. */
    keyId?: string | null;
    body: AsyncIterable<Uint8Array>;
    /** Length of the body, where it is known before it is read. */
    bytes?: number;
  }): Promise<SettleResponse> {
    const { shardId, epoch, keyId = null } = params;
    const shard = await this.#ledger.getShard({ shardId });
    // The holder of an epoch stays the same, so that what is settled later needs no second look.
    if (!shard || shard.epoch !== epoch || !isHolder(shard.holderKeyId, keyId))
      throw leaseLost(shardId, epoch);
    const giveBack = await this.#takeRoom(Math.min(params.bytes ?? STREAM_BYTES, STREAM_BYTES));
    try {
      return await this.#settle(shard, params.body);
    } finally {
      giveBack();
    }
  }

  /** Nothing of a segment is read before there is room for it. */
  async #takeRoom(bytes: number): Promise<() => void> {
    try {
      return await this.#budget.take(bytes, AbortSignal.timeout(ROOM_WAIT_MS));
    } catch (error) {
      throw new DomainError('unavailable', 'Too much is being settled at once: settle again soon.', {
        retryAfterSeconds: 1,
        cause: error,
      });
    }
  }

  async #settle(shard: ShardRecord, body: AsyncIterable<Uint8Array>): Promise<SettleResponse> {
    const judge = new SegmentJudge(shard);
    const kept = judge.kept(body);
    const start = await gather(kept, BUFFERED_BYTES);
    const stopTimer = this.#metrics.settleSeconds.startTimer();
    const key = newSegmentBlobKey(shard.projectId, shard.jobId, this.#clock.nowMs());
    let bytes = start.bytes.length;
    if (bytes > 0) {
      const source = start.isWhole ? start.bytes : Readable.from(following(start.bytes, kept));
      ({ bytes } = await this.#blobs.put({ key, body: source }));
    }
    const { outcomes, refused } = judge;
    if (refused.length > 0) this.#metrics.refusedLines.inc(refused.length);
    if (bytes === 0 && refused.length === 0)
      throw new DomainError('invalid_request', 'The segment has no lines.');
    const told = refused.length === 0 ? {} : { refused: [...refused] };
    if (bytes === 0) return { accepted: 0, repeated: 0, shard_done: false, stop: false, ...told };
    const nowMs = this.#clock.nowMs();
    const settled = await recordObjects({
      blobs: this.#blobs,
      clock: this.#clock,
      keys: [key],
      storedAtMs: nowMs,
      record: () =>
        this.#ledger.settle({
          shardId: shard.id,
          epoch: shard.epoch,
          segment: { blobKey: key, bytes },
          outcomes,
          nowMs,
        }),
      keeps: (answer) => answer.outcome === 'settled' && answer.accepted > 0,
    });
    if (settled.outcome === 'lost') throw leaseLost(shard.id, shard.epoch);
    stopTimer();
    if (settled.accepted > 0) {
      this.#metrics.settledBytes.inc(bytes);
      this.#countItems(outcomes, shard);
      this.#signals.emit('job-changed', settled.jobId);
    }
    if (settled.jobState === 'finalizing') this.#signals.emit('job-finalizing', settled.jobId);
    return {
      accepted: settled.accepted,
      repeated: settled.repeated,
      shard_done: settled.shardDone,
      stop: settled.stop,
      ...told,
    };
  }

  #countItems(outcomes: readonly ItemOutcome[], shard: ShardRecord): void {
    let succeeded = 0;
    let failed = 0;
    for (const { index, ok } of outcomes) {
      if (hasBit(shard.doneMask, positionOf(shard, index))) continue;
      if (ok) succeeded += 1;
      else failed += 1;
    }
    if (succeeded > 0) this.#metrics.itemsEnded.inc({ status: 'succeeded' }, succeeded);
    if (failed > 0) this.#metrics.itemsEnded.inc({ status: 'failed' }, failed);
  }
}

/** The first bytes of a stream, at least `bytes` of them unless it is shorter. */
async function gather(
  stream: AsyncGenerator<Uint8Array>,
  bytes: number,
): Promise<{ bytes: Uint8Array; isWhole: boolean }> {
  const pieces: Uint8Array[] = [];
  let gathered = 0;
  while (gathered < bytes) {
    const next = await stream.next();
    if (next.done === true) return { bytes: Buffer.concat(pieces), isWhole: true };
    pieces.push(next.value);
    gathered += next.value.length;
  }
  return { bytes: Buffer.concat(pieces), isWhole: false };
}

async function* following(start: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield start;
  yield* rest;
}
