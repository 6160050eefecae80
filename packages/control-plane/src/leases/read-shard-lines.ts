import type { Readable } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import { linesBlobKey } from '../plan/work-file.js';
import type { Blobs } from '../ports/blobs.js';
import type { Ledger } from '../ports/ledger.js';
import { isHolder } from '../ports/runners.js';
import { BLOBS, LEDGER } from '../tokens.js';
import { leaseLost } from './lease-lost.js';

/** The input lines of a shard, for who holds it: a runner has no credentials of the blob store. */
@Injectable()
export class ReadShardLines {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;

  constructor(@Inject(LEDGER) ledger: Ledger, @Inject(BLOBS) blobs: Blobs) {
    this.#ledger = ledger;
    this.#blobs = blobs;
  }

  /** @throws DomainError `lease_lost` for everybody but the holder, known by its key, at its epoch */
  async run(params: {
    shardId: string;
    epoch: number;
    keyId?: string | null;
    signal: AbortSignal;
  }): Promise<{ bytes: number; lines: Readable }> {
    const { shardId, epoch, keyId = null, signal } = params;
    const shard = await this.#ledger.getShard({ shardId });
    if (shard?.state !== 'leased' || shard.epoch !== epoch || !isHolder(shard.holderKeyId, keyId))
      throw leaseLost(shardId, epoch);
    const job = await this.#ledger.getJob({ projectId: shard.projectId, id: shard.jobId });
    if (!job) throw leaseLost(shardId, epoch);
    const lines = await this.#blobs.get({
      key: linesBlobKey(job),
      offset: shard.offset,
      length: shard.bytes,
      signal,
    });
    return { bytes: shard.bytes, lines };
  }
}
