import { Inject, Injectable } from '@nestjs/common';
import { forgetOldest } from '../forget-oldest.js';
import type { Ledger } from '../ports/ledger.js';
import { LEDGER } from '../tokens.js';

const REMEMBERED_SHARDS = 10_000;

/**
 * Keeps runners whose key belongs to one project to its shards: to them every other shard is unknown. Runners of all
 * projects (`null`) are asked nothing.
 */
@Injectable()
export class ShardAccess {
  readonly #ledger: Ledger;
  /** A shard never changes its project. */
  readonly #projects = new Map<string, string>();

  constructor(@Inject(LEDGER) ledger: Ledger) {
    this.#ledger = ledger;
  }

  async mayTouch(projectId: string | null, shardId: string): Promise<boolean> {
    if (projectId === null) return true;
    return (await this.#projectOf(shardId)) === projectId;
  }

  async #projectOf(shardId: string): Promise<string | null> {
    const known = this.#projects.get(shardId);
    if (known !== undefined) return known;
    const shard = await this.#ledger.getShard({ shardId });
    if (shard === null) return null;
    this.#projects.set(shardId, shard.projectId);
    forgetOldest(this.#projects, REMEMBERED_SHARDS);
    return shard.projectId;
  }
}
