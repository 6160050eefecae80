import { DomainError } from '../errors.js';

/** What a runner hears whose lease is over (I3): it drops the shard's unsettled work. */
export const leaseLost = (shardId: string, epoch: number): DomainError =>
  new DomainError('lease_lost', `The lease of ${shardId} at epoch ${epoch} is over: drop the shard.`);
