import { emptyMask, type Priority } from '@batch-infer/contracts';
import { laneName } from '@batch-infer/contracts/runner-protocol';
import { describe, expect, it } from 'vitest';
import type { OfferQueue, ProjectLoad } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import { FairShare, LOWER_CLASS_SHARE } from './fair-share.js';
import { type OfferBounds, type OfferChoice, pickShards, tokenCost } from './pick-shards.js';

type Fields = Partial<Omit<OfferQueue, 'project'>> & {
  waiting: number;
  model?: string;
  bytes?: number;
  offeredAtMs?: number;
  lostLeases?: number;
  project?: Partial<ProjectLoad>;
};

function queue(jobId: string, fields: Fields): OfferQueue {
  const { waiting, model = 'm', bytes = 0, offeredAtMs = null, lostLeases = 0, project, ...rest } = fields;
  const job = {
    jobId,
    projectId: 'p',
    priority: 'normal' as Priority,
    createdAtMs: 1,
    expiresAtMs: 1_000,
    expectedOutputTokens: 1,
    held: 0,
    suspectsHeld: 0,
    ...rest,
    project: { weight: 1, maxRunningItems: null, heldItems: 0, ...project },
  };
  const shards = Array.from(
    { length: waiting },
    (_, ordinal): ShardRecord => ({
      id: `${jobId}-${ordinal}`,
      jobId,
      projectId: job.projectId,
      ordinal,
      first: ordinal * 100,
      count: 100,
      offset: 0,
      bytes,
      skip: 0,
      model,
      priority: job.priority,
      state: 'ready',
      epoch: 0,
      doneMask: emptyMask(),
      badMask: emptyMask(),
      lostLeases,
      runnerId: null,
      holderKeyId: null,
      leaseUntilMs: null,
      offeredAtMs,
    }),
  );
  return { ...job, shards };
}

const BOUNDS: OfferBounds = {
  limit: 10,
  room: () => 1_000,
  offeredAgainNeedsRoom: true,
  oneLaneAtATime: false,
  isPaid: () => false,
};

const idsOf = (choices: readonly OfferChoice[]) => choices.map(({ shard }) => shard.id);

const pick = (queues: OfferQueue[], bounds: Partial<OfferBounds> = {}, share = new FairShare()) =>
  idsOf(pickShards(queues, { ...BOUNDS, ...bounds }, share));

/** Picks as the dispatcher does: what was chosen goes, and is gone from its queue. */
function serve(queues: OfferQueue[], rounds: number, bounds: Partial<OfferBounds> = {}): OfferChoice[] {
  const share = new FairShare();
  const served: OfferChoice[] = [];
  const gone = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    const open = queues
      .map((each) => ({ ...each, shards: each.shards.filter(({ id }) => !gone.has(id)) }))
      .filter(({ shards }) => shards.length > 0);
    for (const choice of pickShards(open, { ...BOUNDS, ...bounds, limit: 1 }, share)) {
      if (choice.entry) share.charge(choice.entry.charge, choice.entry.context);
      gone.add(choice.shard.id);
      served.push(choice);
    }
  }
  return served;
}

const tokensOf = (served: readonly OfferChoice[], projectId: string): number =>
  served
    .filter(({ shard }) => shard.projectId === projectId)
    .reduce((sum, { entry }) => sum + (entry?.charge.cost ?? 0), 0);

describe('inside a project', () => {
  it('the earliest deadline goes first, then the oldest job', () => {
    const old = queue('old', { waiting: 2, createdAtMs: 1, expiresAtMs: 500 });
    const young = queue('young', { waiting: 1, createdAtMs: 2, expiresAtMs: 500 });
    const urgent = queue('urgent', { waiting: 1, createdAtMs: 3, expiresAtMs: 100 });
    expect(pick([young, old, urgent])).toEqual(['urgent-0', 'old-0', 'old-1', 'young-0']);
  });

  it('a job whose lane is full does not hold up jobs of other models (I8)', () => {
    const queues = [queue('m', { waiting: 9 }), queue('n', { waiting: 1, model: 'n', createdAtMs: 2 })];
    expect(pick(queues, { room: () => 2 })).toEqual(['m-0', 'm-1', 'n-0']);
  });

  it('suspects go one at a time, and everything else past them (I10)', () => {
    const suspects = queue('suspect', { waiting: 3, lostLeases: 2 });
    const others = [
      queue('also', { waiting: 2, lostLeases: 3, createdAtMs: 2 }),
      queue('fresh', { waiting: 2, createdAtMs: 3 }),
    ];
    expect(pick([suspects, ...others]).sort()).toEqual(['fresh-0', 'fresh-1', 'suspect-0']);
    const held = [suspects, ...others].map((one) => ({ ...one, suspectsHeld: 1 }));
    expect(pick(held)).toEqual(['fresh-0', 'fresh-1']);
  });
});

describe('I9: between projects', () => {
  it('tokens are shared, however many jobs one of them has', () => {
    const many = [1, 2, 3, 4].map((n) =>
      queue(`many-${n}`, { waiting: 4, projectId: 'many', createdAtMs: n }),
    );
    const one = queue('one', { waiting: 4, projectId: 'one', createdAtMs: 9 });
    expect(pick([...many, one], { limit: 8 }).filter((id) => id.startsWith('one'))).toHaveLength(4);
  });

  it('a project with long items gets fewer of them: costs count, not shards', () => {
    const long = queue('long', { waiting: 90, projectId: 'long', expectedOutputTokens: 900 });
    const short = queue('short', { waiting: 900, projectId: 'short', expectedOutputTokens: 100 });
    const served = serve([long, short], 100);
    expect(served.filter(({ shard }) => shard.projectId === 'long')).toHaveLength(10);
    expect(tokensOf(served, 'long') / tokensOf(served, 'short')).toBeCloseTo(1, 1);
  });

  it.each([0.5, 2, 3])('a weight of %d gives that many times the tokens, within one shard', (weight) => {
    const heavy = queue('heavy', { waiting: 400, projectId: 'heavy', project: { weight } });
    const plain = queue('plain', { waiting: 400, projectId: 'plain' });
    const shardTokens = tokenCost(plain.shards[0] as ShardRecord, 1);
    for (const rounds of [7, 50, 300]) {
      const served = serve([heavy, plain], rounds);
      const share = (tokensOf(served, 'heavy') + tokensOf(served, 'plain')) * (weight / (weight + 1));
      expect(Math.abs(tokensOf(served, 'heavy') - share)).toBeLessThanOrEqual(shardTokens);
    }
  });

  it('time without work is not saved up', () => {
    const share = new FairShare();
    const always = queue('always', { waiting: 500, projectId: 'always' });
    for (const { entry } of pickShards([always], { ...BOUNDS, limit: 100 }, share))
      if (entry) share.charge(entry.charge, entry.context);
    const back = queue('back', { waiting: 500, projectId: 'back' });
    const picked = pick([always, back], { limit: 10 }, share);
    expect(picked.filter((id) => id.startsWith('back')).length).toBeLessThanOrEqual(6);
  });

  it('a project at its cap lets the others go on, and always holds one shard', () => {
    const capped = queue('capped', {
      waiting: 5,
      projectId: 'capped',
      project: { maxRunningItems: 250, heldItems: 100 },
    });
    const other = queue('other', { waiting: 3, projectId: 'other', createdAtMs: 2 });
    expect(pick([capped, other])).toEqual(['capped-0', 'other-0', 'other-1', 'other-2']);
    const tiny = queue('tiny', { waiting: 2, project: { maxRunningItems: 1, heldItems: 0 } });
    expect(pick([tiny])).toEqual(['tiny-0']);
  });

  it('what did not arrive is not paid for twice', () => {
    const share = new FairShare();
    const [choice] = pickShards([queue('a', { waiting: 1 })], { ...BOUNDS, isPaid: () => true }, share);
    expect(choice).toMatchObject({ entry: null });
    const again = pickShards([queue('a', { waiting: 1, offeredAtMs: 5 })], BOUNDS, share);
    expect(again).toMatchObject([{ entry: null }]);
  });
});

describe('between priority classes', () => {
  const classes = (waiting: number) =>
    (['low', 'normal', 'high'] as const).map((priority) => queue(priority, { waiting, priority }));

  it('the higher one goes first', () => {
    expect(pick(classes(2))).toEqual(['high-0', 'high-1', 'normal-0', 'normal-1', 'low-0', 'low-1']);
  });

  it('lower ones still get their small share, and no more', () => {
    const served = serve(classes(1_000), 400);
    const shareOf = (priority: Priority) =>
      served.filter(({ shard }) => shard.priority === priority).length / served.length;
    for (const lower of ['normal', 'low'] as const) {
      expect(shareOf(lower)).toBeGreaterThanOrEqual(LOWER_CLASS_SHARE - 1 / served.length);
      expect(shareOf(lower)).toBeLessThan(2 * LOWER_CLASS_SHARE);
    }
  });

  it('where lanes are read one after the other, what is owed travels in the higher lane', () => {
    const served = serve(classes(1_000), 100, { oneLaneAtATime: true });
    const low = served.filter(({ shard }) => shard.priority === 'low');
    expect(low.length).toBeGreaterThan(0);
    for (const { lanePriority } of low) expect(lanePriority).toBe('high');
    expect(low.every(({ entry }) => entry?.context.owed)).toBe(true);
  });

  it('there, a lower class waits for a higher one of its model even when that has no room now', () => {
    const high = queue('high', { waiting: 4, priority: 'high' });
    const low = queue('low', { waiting: 2, priority: 'low' });
    const other = queue('other', { waiting: 2, priority: 'low', model: 'n', createdAtMs: 2 });
    const room = (lane: string) => (lane === laneName('high', 'm') ? 1 : 10);
    expect(pick([high, low, other], { room, oneLaneAtATime: true })).toEqual([
      'high-0',
      'other-0',
      'other-1',
    ]);
    expect(pick([high, low, other], { room })).toEqual(['high-0', 'low-0', 'low-1', 'other-0', 'other-1']);
  });
});

it('offers again what is stale without room where its first offer was counted', () => {
  const queues = [queue('stale', { waiting: 3, offeredAtMs: 1 })];
  expect(pick(queues, { room: () => 0, offeredAgainNeedsRoom: false })).toHaveLength(3);
  expect(pick(queues, { room: () => 0 })).toEqual([]);
});

it('the cost of a shard counts what is left of it', () => {
  const [whole] = queue('whole', { waiting: 1, bytes: 40_000 }).shards;
  if (whole === undefined) throw new Error('no shard');
  expect(tokenCost(whole, 256)).toBe(10_000 + 100 * 256);
  const doneMask = emptyMask().fill(0xff, 0, 12).fill(0x0f, 12, 13);
  expect(tokenCost({ ...whole, doneMask }, 256)).toBeCloseTo(1 * (100 + 256));
});

it('picks nothing from nothing', () => {
  expect(pick([])).toEqual([]);
});
