import { expect, it } from 'vitest';
import { spendRequests } from '../ledger/request-budget-rules.js';
import type { ProjectLimitsLedger } from '../ports/project-limits.js';
import { SharedBucket } from './shared-bucket.js';

const strict = { overdraw: false };
const forced = { overdraw: true };

/** A ledger of one bucket that counts how often it is asked, and can be away. */
function fakeLedger(): Pick<ProjectLimitsLedger, 'takeRequests'> & { asked: number; isDown: boolean } {
  let fullAtUs = 0;
  return {
    asked: 0,
    isDown: false,
    async takeRequests({ nowMs, ...spending }) {
      this.asked += 1;
      if (this.isDown) throw new Error('away');
      const answer = spendRequests(fullAtUs, spending, nowMs * 1_000);
      fullAtUs = answer.fullAtUs;
      return { granted: answer.granted, fullAtMs: fullAtUs / 1_000 };
    },
  };
}

const open = (ledger: Pick<ProjectLimitsLedger, 'takeRequests'>, perMinute: number) =>
  new SharedBucket({ projectId: 'p', perMinute, ledger });

async function takeMany(bucket: SharedBucket, times: number, nowMs: number): Promise<number> {
  let through = 0;
  for (let taken = 0; taken < times; taken += 1) {
    if ((await bucket.take(nowMs, strict))?.waitMs === 0) through += 1;
  }
  return through;
}

it('asks the ledger for blocks, not for each request, and not at all while it is empty', async () => {
  const ledger = fakeLedger();
  const bucket = open(ledger, 1_000);
  expect(await takeMany(bucket, 1_000, 0)).toBe(1_000);
  expect(ledger.asked).toBe(20);
  expect(await takeMany(bucket, 500, 0)).toBe(0);
  expect(ledger.asked).toBe(20);
});

it('says where the project stands', async () => {
  const bucket = open(fakeLedger(), 60);
  expect(await bucket.take(0, strict)).toEqual({ limit: 60, remaining: 59, resetMs: 1_000, waitMs: 0 });
  expect(await takeMany(bucket, 59, 0)).toBe(59);
  expect(await bucket.take(0, strict)).toEqual({ limit: 60, remaining: 0, resetMs: 60_000, waitMs: 1_000 });
  expect(await bucket.take(1_000, strict)).toMatchObject({ waitMs: 0 });
});

it.each([1, 7, 9_999, 10_000_000])(
  'comes to an end at a limit of %d, however time is rounded',
  async (limit) => {
    const bucket = open(fakeLedger(), limit);
    for (let nowMs = 0; nowMs < 70_000; nowMs += 971) {
      for (let taken = 0; taken < 3; taken += 1) expect(await bucket.take(nowMs, strict)).not.toBeNull();
    }
  },
);

it('gives back what it does not use, so that another process gets the whole limit', async () => {
  const ledger = fakeLedger();
  const [idle, busy] = [open(ledger, 60), open(ledger, 60)];
  await idle.take(0, strict);
  await idle.take(5_000, strict);
  // Of each block of three one was made: what is held is one block of two at the most.
  expect(await takeMany(busy, 100, 5_000)).toBe(57);
});

it('lets through a block of each process over the limit at the most', async () => {
  const ledger = fakeLedger();
  const processes = Array.from({ length: 4 }, () => open(ledger, 60));
  for (const bucket of processes) await bucket.take(0, strict);
  // The blocks were granted just before the window begins, and are used in it.
  let through = 0;
  for (const bucket of processes) through += await takeMany(bucket, 200, 4_999);
  expect(through).toBeLessThanOrEqual(60 + 4 * 3);
});

it('counts what is never refused, and tells the ledger later', async () => {
  const ledger = fakeLedger();
  const bucket = open(ledger, 10);
  for (let taken = 0; taken < 30; taken += 1) await bucket.take(0, forced);
  const { waitMs } = (await bucket.take(0, strict)) ?? { waitMs: 0 };
  // Overdrawn by a minute's worth at most.
  expect(waitMs).toBe(66_000);
  const other = open(ledger, 10);
  await bucket.take(5_000, strict);
  expect((await other.take(5_000, strict))?.waitMs).toBe(61_000);
});

it('limits nobody while the ledger is away, and asks it once a second', async () => {
  const ledger = fakeLedger();
  ledger.isDown = true;
  const bucket = open(ledger, 1);
  for (let taken = 0; taken < 10; taken += 1) expect(await bucket.take(0, strict)).toBeNull();
  expect(ledger.asked).toBe(1);
  ledger.isDown = false;
  expect(await bucket.take(1_000, strict)).toMatchObject({ waitMs: 0 });
  expect(await bucket.take(1_000, strict)).toMatchObject({ waitMs: 60_000 });
});
