import { exactNumber, LIMITS } from '@batch-infer/contracts';
import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import { Inject, Injectable } from '@nestjs/common';
import { BlobWriter } from '../finalize/blob-writer.js';
import { modelOf } from '../jobs/judge.js';
import type { Blobs } from '../ports/blobs.js';
import type { NewShard } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import { BLOBS } from '../tokens.js';
import { ExternalSort } from './external-sort.js';
import { type ItemModels, ItemTable } from './item-table.js';
import { inputLines } from './line-batches.js';
import { planOrder } from './plan-order.js';
import { positionsIn } from './positions.js';
import { PrefixKeys } from './prefix-keys.js';
import { readItem } from './read-item.js';
import { sharesAnswers } from './wants-plan.js';
import { newTemporaryBlobKey, newWorkBlobKey, type WorkPlan } from './work-file.js';

const LINE_FEED = Buffer.from('\n');

/**
 * Finds the order in which a job's items are best run, and writes its input in that order where it gains anything.
 * Reads the input twice, from front to back; memory is about 50 bytes an item and 64 MiB, whatever the size.
 */
@Injectable()
export class WorkPlans {
  readonly #blobs: Blobs;

  constructor(@Inject(BLOBS) blobs: Blobs) {
    this.#blobs = blobs;
  }

  /**
   * `null`: input order is as good. The work file is the caller's to delete when it is not used.
   * @param params.decided 1 for each item that will not run: those go behind the others, so that shards hold few of both
   * @param params.onProgress called every few milliseconds; what it throws ends the work, and nothing stays
   */
  async make(params: {
    job: JobRecord;
    summary: ScanSummary;
    decided?: Uint8Array | null;
    onProgress: () => Promise<void>;
  }): Promise<WorkPlan | null> {
    const { job, summary, onProgress } = params;
    const planned = await this.#plan(params);
    if (planned === null) return null;
    const { order, models } = planned;
    const blobKey = newWorkBlobKey(job.projectId);
    const writer = new BlobWriter(this.#blobs, blobKey);
    const sort = new ExternalSort({ blobs: this.#blobs, key: newTemporaryBlobKey(job.projectId) });
    let written = false;
    try {
      await this.#sortLines(job, summary, { order, sort, onProgress });
      const shards = new ShardBuilder();
      for await (const batch of sort.sorted()) {
        await onProgress();
        await writer.write(batch.flatMap(({ bytes }) => [bytes, LINE_FEED]));
        for (const { key, bytes } of batch) shards.add(models.of(order[key] ?? 0), bytes.length + 1);
      }
      await writer.finish();
      written = true;
      return { blobKey, order, shards: shards.finish() };
    } finally {
      await sort.dispose();
      if (!written) await writer.abort();
    }
  }

  /** The table of items is large: it is not held while the work file is written. */
  async #plan(
    params: Parameters<WorkPlans['make']>[0],
  ): Promise<{ order: Uint32Array; models: ItemModels } | null> {
    const items = await this.#readItems(params);
    const { order, worthwhile } = await planOrder(items, {
      inputShards: params.summary.shards.length,
      reuse: sharesAnswers(params.job.options),
    });
    return worthwhile ? { order, models: items.models } : null;
  }

  async #readItems(params: Parameters<WorkPlans['make']>[0]): Promise<ItemTable> {
    const { job, summary, decided, onProgress } = params;
    const items = new ItemTable(summary.items, decided ?? null);
    const keys = new PrefixKeys(job.projectId);
    const { defaults } = job.options;
    const limit = defaults?.max_completion_tokens ?? defaults?.max_tokens ?? defaults?.max_output_tokens;
    const itemDefaults = {
      model: modelOf(job.options) ?? '',
      maxTokens: exactNumber(limit),
      reuse: sharesAnswers(job.options),
    };
    let index = 0;
    for await (const lines of await inputLines(this.#blobs, job, summary)) {
      await onProgress();
      for (const line of lines) {
        if (index < items.length) readItem({ line, index, items, keys, defaults: itemDefaults });
        index += 1;
      }
    }
    if (index !== items.length)
      throw new Error(`the input of ${job.id} has ${index} items, but ${items.length} were counted`);
    return items;
  }

  /** Gives each line its place in the order. */
  async #sortLines(
    job: JobRecord,
    summary: ScanSummary,
    work: { order: Uint32Array; sort: ExternalSort; onProgress: () => Promise<void> },
  ): Promise<void> {
    const { order, sort, onProgress } = work;
    const positions = positionsIn(order);
    let index = 0;
    for await (const lines of await inputLines(this.#blobs, job, summary)) {
      await onProgress();
      for (const line of lines) {
        await sort.add(positions[index] ?? 0, [line]);
        index += 1;
      }
    }
  }
}

/** Cuts the work file into shards while it is written. */
class ShardBuilder {
  readonly #shards: NewShard[] = [];
  #open: { first: number; count: number; offset: number; bytes: number; model: string } | null = null;
  #items = 0;
  #bytes = 0;

  add(model: string, bytes: number): void {
    const open = this.#open;
    const fits =
      open !== null &&
      open.model === model &&
      open.count < LIMITS.shardItems &&
      open.bytes + bytes <= LIMITS.shardBytes;
    if (fits) {
      open.count += 1;
      open.bytes += bytes;
    } else {
      this.#close();
      this.#open = { first: this.#items, count: 1, offset: this.#bytes, bytes, model };
    }
    this.#items += 1;
    this.#bytes += bytes;
  }

  finish(): NewShard[] {
    this.#close();
    return this.#shards;
  }

  #close(): void {
    if (this.#open !== null) this.#shards.push(this.#open);
    this.#open = null;
  }
}
