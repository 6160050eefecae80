import { createHash } from 'node:crypto';

/** What decides an offer's partition. */
export interface PlaceableOffer {
  readonly shard_id: string;
  /** Offers with the same key go to the same partition, hence to one runner, whose engine holds their prefix. */
  readonly prefix_group?: string | null;
}

const hashOf = (text: string): number => createHash('sha256').update(text).digest().readUInt32BE(0);

/**
 * The partition for an offer: its prefix group's, or else the one with the fewest outstanding offers, so that nothing
 * queues behind a full runner while another one waits. Among equals, one by the shard's hash, so that rare offers do
 * not all go to the runner of partition 0.
 * @param outstanding Offers that wait in each partition.
 */
export function partitionFor(
  offer: PlaceableOffer,
  partitions: number,
  outstanding: readonly number[],
): number {
  if (offer.prefix_group) return hashOf(offer.prefix_group) % partitions;
  const start = hashOf(offer.shard_id) % partitions;
  let best = start;
  for (let step = 1; step < partitions; step += 1) {
    const candidate = (start + step) % partitions;
    if ((outstanding[candidate] ?? 0) < (outstanding[best] ?? 0)) best = candidate;
  }
  return best;
}
