import { hasBit, LIMITS } from '@batch-infer/contracts';
import type { SettleResponse } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import { newSegmentBlobKey } from '../jobs/segment-key.js';
import { positionOf } from '../plan/positions.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { ItemOutcome, ShardRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { Metrics } from '../telemetry/metrics.js';
import { BLOBS, CLOCK, LEDGER, SIGNALS } from '../tokens.js';
import { leaseLost } from './lease-lost.js';
import { outcomesOf } from './segment-outcomes.js';

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
   * Settling the same segment again changes nothing and counts its items as `repeated`.
   * @throws DomainError `lease_lost` at a stale epoch, `invalid_request` for a segment that does not fit the shard,
   * `body_too_large` beyond `LIMITS.segmentBytes`.
   */
  async run(params: {
    shardId: string;
    epoch: number;
    body: AsyncIterable<Uint8Array>;
  }): Promise<SettleResponse> {
    const { shardId, epoch } = params;
    const shard = await this.#ledger.getShard({ shardId });
    if (!shard || shard.epoch !== epoch) throw leaseLost(shardId, epoch);
    const segment = await readCapped(params.body, LIMITS.segmentBytes);
    const outcomes = outcomesOf(segment, shard);
    const stopTimer = this.#metrics.settleSeconds.startTimer();
    const key = newSegmentBlobKey(shard.projectId, shard.jobId, this.#clock.nowMs());
    await this.#blobs.put({ key, body: segment });
    const settled = await this.#ledger.settle({
      shardId,
      epoch,
      segment: { blobKey: key, bytes: segment.length },
      outcomes,
      nowMs: this.#clock.nowMs(),
    });
    if (settled.outcome === 'lost' || settled.accepted === 0) await this.#discard(key);
    if (settled.outcome === 'lost') throw leaseLost(shardId, epoch);
    stopTimer();
    if (settled.accepted > 0) {
      this.#metrics.settledBytes.inc(segment.length);
      this.#countItems(outcomes, shard);
      this.#signals.emit('job-changed', settled.jobId);
    }
    if (settled.jobState === 'finalizing') this.#signals.emit('job-finalizing', settled.jobId);
    return {
      accepted: settled.accepted,
      repeated: settled.repeated,
      shard_done: settled.shardDone,
      stop: settled.stop,
    };
  }

  async #discard(key: string): Promise<void> {
    // What cannot be deleted now is an orphan, and the orphan sweep finds it.
    await this.#blobs.delete({ key }).catch(() => {});
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

async function readCapped(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new DomainError(
        'body_too_large',
        `A segment may have ${maxBytes} bytes: settle fewer items at once.`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
