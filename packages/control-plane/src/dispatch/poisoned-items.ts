import { encodeSegmentLine, itemError, newId } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import { readCustomIds } from '../jobs/input-ids.js';
import { SettleSegment } from '../leases/settle-segment.js';
import { indexAt, openIndices } from '../plan/positions.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord, ShardRecord } from '../ports/records.js';
import { BLOBS, CLOCK, CONFIG, LEDGER } from '../tokens.js';

/** The sweeper takes a lease like any runner, so that an item is never ended by two at once. */
const SWEEPER_ID = 'sweeper';

/** Fails single items whose runners died again and again, each alone (I10). */
@Injectable()
export class PoisonedItems {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #settle: SettleSegment;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
    @Inject(SettleSegment) settle: SettleSegment,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#config = config;
    this.#settle = settle;
  }

  async fail(shard: ShardRecord): Promise<void> {
    const claimed = await this.#ledger.claimShard({
      shardId: shard.id,
      epoch: shard.epoch,
      runnerId: SWEEPER_ID,
      // No key of a runner has this id: nobody else settles it.
      keyId: SWEEPER_ID,
      leaseMs: this.#config.leaseMs,
      nowMs: this.#clock.nowMs(),
    });
    // Another sweeper has it, or the job was stopped.
    if (claimed.outcome === 'refused') return;
    await this.#settle.run({
      shardId: shard.id,
      epoch: claimed.shard.epoch,
      body: oneChunk(await this.#failureLine(claimed.shard, claimed.job)),
    });
  }

  async #failureLine(shard: ShardRecord, job: JobRecord): Promise<Uint8Array> {
    // One item of it has not ended, wherever it stands.
    const [index = indexAt(shard, 0)] = openIndices(shard);
    const customIds = await readCustomIds(this.#blobs, job, [shard]);
    const error = itemError(
      'worker_lost',
      `The runner died, or could not hand the outcome over, every time it ran this item: ${shard.lostLeases} runners were lost.`,
    );
    const header = {
      i: index,
      c: customIds.get(index) ?? String(index),
      ok: false,
      st: 0,
      a: shard.lostLeases,
      ms: 0,
      r: newId('req', this.#clock.nowMs()),
      e: error,
    };
    return encodeSegmentLine(header, new Uint8Array());
  }
}

async function* oneChunk(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk;
}
