import { emptyMask, type Priority } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { OfferQueue } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import { pickShards } from './pick-shards.js';

function queue(
  jobId: string,
  fields: Partial<OfferQueue> & {
    waiting: number;
    model?: string;
    offeredAtMs?: number;
    lostLeases?: number;
  },
): OfferQueue {
  const { waiting, model = 'm', offeredAtMs = null, lostLeases = 0, ...rest } = fields;
  const defaults = {
    projectId: 'p',
    priority: 'normal' as Priority,
    createdAtMs: 1,
    held: 0,
    suspectsHeld: 0,
  };
  const job = { jobId, ...defaults, ...rest };
  const shards = Array.from(
    { length: waiting },
    (_, ordinal): ShardRecord => ({
      id: `${jobId}-${ordinal}`,
      jobId,
      projectId: job.projectId,
      ordinal,
      first: ordinal * 256,
      count: 256,
      offset: 0,
      bytes: 1,
      skip: 0,
      model,
      priority: job.priority,
      state: 'ready',
      epoch: 0,
      doneMask: emptyMask(),
      badMask: emptyMask(),
      lostLeases,
      runnerId: null,
      leaseUntilMs: null,
      offeredAtMs,
    }),
  );
  return { shards, ...job };
}

const pick = (queues: OfferQueue[], limit: number, room = 1_000, offeredAgainNeedsRoom = true) =>
  pickShards(queues, { limit, room: () => room, offeredAgainNeedsRoom }).map((shard) => shard.id);

describe('whose turn it is', () => {
  it('goes by priority first', () => {
    const low = queue('low', { waiting: 2, priority: 'low', createdAtMs: 1 });
    const high = queue('high', { waiting: 2, priority: 'high', createdAtMs: 2 });
    expect(pick([low, high], 3)).toEqual(['high-0', 'high-1', 'low-0']);
  });

  it('alternates between jobs, the older one first', () => {
    const old = queue('old', { waiting: 5, createdAtMs: 1 });
    const young = queue('young', { waiting: 2, createdAtMs: 2 });
    expect(pick([young, old], 5)).toEqual(['old-0', 'young-0', 'old-1', 'young-1', 'old-2']);
  });

  it('brings a small job in before the rest of a large one that runs already', () => {
    const large = queue('large', { waiting: 9, createdAtMs: 1, held: 4 });
    const small = queue('small', { waiting: 1, createdAtMs: 2 });
    expect(pick([large, small], 2)).toEqual(['small-0', 'large-0']);
  });

  it('shares between projects, however many jobs one of them has (I9)', () => {
    const many = [1, 2, 3, 4].map((n) =>
      queue(`many-${n}`, { waiting: 4, projectId: 'many', createdAtMs: n }),
    );
    const one = queue('one', { waiting: 4, projectId: 'one', createdAtMs: 9 });
    const picked = pick([...many, one], 8);
    expect(picked.filter((id) => id.startsWith('one'))).toHaveLength(4);
  });

  it('keeps a lane inside its room, and other lanes going (I8)', () => {
    const queues = [queue('m', { waiting: 9 }), queue('n', { waiting: 1, model: 'n', createdAtMs: 2 })];
    expect(pick(queues, 10, 2)).toEqual(['m-0', 'n-0', 'm-1']);
  });

  it('offers again what is stale without room where its first offer was counted', () => {
    const queues = [queue('stale', { waiting: 3, offeredAtMs: 1 })];
    expect(pick(queues, 10, 0, false)).toHaveLength(3);
    expect(pick(queues, 10, 0, true)).toEqual([]);
  });

  it('lets suspects go one at a time, and everything else past them (I10)', () => {
    const suspects = queue('suspect', { waiting: 3, lostLeases: 2 });
    const others = [
      queue('also', { waiting: 2, lostLeases: 3, createdAtMs: 2 }),
      queue('fresh', { waiting: 2 }),
    ];
    expect(pick([suspects, ...others], 10).sort()).toEqual(['fresh-0', 'fresh-1', 'suspect-0']);
    const held = [suspects, ...others].map((one) => ({ ...one, suspectsHeld: 1 }));
    expect(pick(held, 10)).toEqual(['fresh-0', 'fresh-1']);
  });

  it('picks nothing from nothing', () => {
    expect(pick([], 10)).toEqual([]);
  });
});
