import { hasBit } from '@batch-infer/contracts';
import type { ShardRecord } from '../ports/records.js';

/**
 * A shard or a segment counts its items by their position in the work file, masks too; everybody outside of the ledger
 * knows them by their index in the input. Where the work file is in another order, `indexes` holds the input index of
 * each item from `first` on.
 */
export interface Positioned {
  readonly first: number;
  readonly indexes?: Uint32Array;
}

/** Input index of the item that stands `position` items behind the first. */
export const indexAt = ({ first, indexes }: Positioned, position: number): number =>
  indexes === undefined ? first + position : (indexes[position] ?? -1);

/** How many items behind the first an item of the input stands; negative or behind the last one when it is not there. */
export const positionOf = ({ first, indexes }: Positioned, index: number): number =>
  indexes === undefined ? index - first : indexes.indexOf(index);

/** Where in an order each item stands: the order read the other way round. */
export function positionsIn(order: Uint32Array): Uint32Array {
  const positions = new Uint32Array(order.length);
  for (let position = 0; position < order.length; position += 1) positions[order[position] ?? 0] = position;
  return positions;
}

/** Input indexes of a shard's items that have not ended, in the order of the work file. */
export function openIndices(shard: Pick<ShardRecord, 'first' | 'indexes' | 'count' | 'doneMask'>): number[] {
  const open: number[] = [];
  for (let position = 0; position < shard.count; position += 1) {
    if (!hasBit(shard.doneMask, position)) open.push(indexAt(shard, position));
  }
  return open;
}
