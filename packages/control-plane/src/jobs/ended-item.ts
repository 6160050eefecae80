import type { SegmentHeader } from '@batch-infer/contracts';
import { StoredBody, wholeBody } from './stored-body.js';

/** How an item ended: by a line of a segment, or never run. `B` is what bodies are there as. */
export type EndedItem<B = Uint8Array | StoredBody> =
  | {
      readonly ended: 'settled';
      readonly index: number;
      readonly header: SegmentHeader;
      readonly body: B;
    }
  | {
      readonly ended: 'never_run';
      readonly index: number;
      /** Empty when nobody knows it any more: the input was deleted before such ids were kept. */
      readonly customId: string;
      readonly status: 'cancelled' | 'expired';
    };

/** An ended item with its whole body. */
export type WholeItem = EndedItem<Uint8Array>;

export type SettledItem = EndedItem & {
  readonly ended: 'settled';
  /** Of its segment, from 0. */
  readonly line: number;
};

/** Bodies up to this are read in batches; larger ones are left in their segment until they are written. */
const SMALL_BODY_BYTES = 256 * 1024;
const BATCH_BYTES = 1024 * 1024;
/** Bodies read at once. */
const PARALLEL_READS = 8;

export async function wholeItem(item: EndedItem): Promise<WholeItem> {
  if (item.ended === 'never_run') return item;
  return { ...item, body: await wholeBody(item.body) };
}

/**
 * Batches whose bodies are in memory, a megabyte at a time, but for large ones; bodies of failed items always are, as they
 * are looked into. Items whose bodies are there already come as one batch.
 */
export async function* inBatches<Item extends EndedItem>(items: readonly Item[]): AsyncGenerator<Item[]> {
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const loads = isLoaded(item) ? item.body.length : 0;
    if (bytes > 0 && bytes + loads > BATCH_BYTES) {
      yield await loaded(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += loads;
  }
  if (batch.length > 0) yield bytes > 0 ? await loaded(batch) : batch;
}

const isLoaded = (item: EndedItem): item is EndedItem<StoredBody> & { ended: 'settled' } =>
  item.ended === 'settled' &&
  item.body instanceof StoredBody &&
  (item.body.length <= SMALL_BODY_BYTES || !item.header.ok);

async function loaded<Item extends EndedItem>(batch: readonly Item[]): Promise<Item[]> {
  const whole: Item[] = [];
  for (let at = 0; at < batch.length; at += PARALLEL_READS) {
    const group = batch.slice(at, at + PARALLEL_READS);
    whole.push(...(await Promise.all(group.map((item) => (isLoaded(item) ? withBody(item) : item)))));
  }
  return whole;
}

const withBody = async <Item extends EndedItem>(item: Item & { body: StoredBody }): Promise<Item> => ({
  ...item,
  body: await item.body.whole(),
});
