import { maskFromBase64, positionsOf } from '@batch-infer/contracts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { StoreUnavailableError } from '../ports/outage.js';
import { chunks, openUseCases, reportOf, segmentOf, type UseCases } from '../use-cases-fixture.js';

let cases: UseCases;

beforeEach(async () => {
  cases = await openUseCases();
});

afterEach(() => cases.close());

/** The only shard of a job, offered and ready to be claimed. */
async function offerOf(params: Parameters<UseCases['createJob']>[0]) {
  const job = await cases.createJob(params);
  await cases.dispatcher.tick();
  const offer = cases.recorder.offers.find(({ job_id }) => job_id === job.id);
  if (!offer) throw new Error('nothing was offered');
  return { job, offer };
}

const leaseLost = expect.objectContaining({ code: 'lease_lost' });

describe('I3: at most one valid lease a shard, and a stale epoch changes nothing', () => {
  it('gives an offer to one of two runners that claim it', async () => {
    const { offer } = await offerOf({ items: 4 });
    const claims = await Promise.all(
      ['runner-1', 'runner-2'].map((runnerId) =>
        cases.claim.run({ runner_id: runnerId, shard_id: offer.shard_id, epoch: offer.epoch }),
      ),
    );
    expect(claims.map(({ outcome }) => outcome).sort()).toEqual(['claimed', 'refused']);
  });

  it('refuses offers of the past and of shards that are not there', async () => {
    const { offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    await cases.release.run({ shardId: lease.shard_id, epoch: lease.epoch, reason: 'drain' });
    const stale = await cases.claim.run({ runner_id: 'r', shard_id: offer.shard_id, epoch: offer.epoch });
    expect(stale).toEqual({ outcome: 'refused', reason: 'stale' });
    const unknown = await cases.claim.run({ runner_id: 'r', shard_id: 'shard_none', epoch: 0 });
    expect(unknown).toEqual({ outcome: 'refused', reason: 'unknown' });
  });

  it('fences a runner whose lease was taken over', async () => {
    const { job, offer } = await offerOf({ items: 4 });
    const old = await cases.take(offer, 'runner-1');
    cases.clock.advance(cases.config.leaseMs + 1);
    await cases.sweep();
    await cases.dispatcher.tick();
    const fresh = await cases.take({ shard_id: old.shard_id, epoch: old.epoch }, 'runner-2');
    expect(fresh.epoch).toBeGreaterThan(old.epoch);
    expect(fresh.lost_leases).toBe(1);

    await expect(cases.settleItems(old, [0])).rejects.toEqual(leaseLost);
    expect(await cases.release.run({ shardId: old.shard_id, epoch: old.epoch, reason: 'drain' })).toBe(false);
    const { leases } = await cases.renew.run({
      ...reportOf('runner-1'),
      leases: [{ shard_id: old.shard_id, epoch: old.epoch }],
    });
    expect(leases).toMatchObject([{ status: 'lost', lease_ms: 0 }]);
    const signal = new AbortController().signal;
    await expect(cases.lines.run({ shardId: old.shard_id, epoch: old.epoch, signal })).rejects.toEqual(
      leaseLost,
    );
    expect(await cases.segmentKeys(job)).toEqual([]);
    expect(await cases.getJob(job)).toMatchObject({ succeeded: 0 });
    expect(await cases.settleItems(fresh, [0])).toMatchObject({ accepted: 1 });
  });

  it('keeps a renewed lease beyond its first time', async () => {
    const { offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    for (let renewal = 0; renewal < 3; renewal += 1) {
      cases.clock.advance(cases.config.leaseMs - 1);
      const { leases } = await cases.renew.run({ ...reportOf('runner-1'), leases: [lease] });
      expect(leases).toMatchObject([{ status: 'held', lease_ms: cases.config.leaseMs }]);
      await cases.sweep();
    }
    expect(await cases.settleItems(lease, [0, 1, 2, 3])).toMatchObject({ accepted: 4, shard_done: true });
  });
});

describe('I5: settling is idempotent', () => {
  it('answers a repeated segment without changing anything', async () => {
    const { job, offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    expect(await cases.settleItems(lease, [0, 1])).toEqual({
      accepted: 2,
      repeated: 0,
      shard_done: false,
      stop: false,
    });
    const before = await cases.getJob(job);
    expect(await cases.settleItems(lease, [0, 1])).toEqual({
      accepted: 0,
      repeated: 2,
      shard_done: false,
      stop: false,
    });
    const after = await cases.getJob(job);
    expect([after.succeeded, after.usage, after.version]).toEqual([
      before.succeeded,
      before.usage,
      before.version,
    ]);
    expect(await cases.segmentKeys(job)).toHaveLength(1);
  });

  it('answers the settle that ended the shard again, after the end', async () => {
    const { job, offer } = await offerOf({ items: 2 });
    const lease = await cases.take(offer);
    const finalizing: string[] = [];
    cases.signals.on('job-finalizing', (jobId) => finalizing.push(jobId));
    expect(await cases.settleItems(lease, [0, 1])).toMatchObject({ accepted: 2, shard_done: true });
    expect(await cases.settleItems(lease, [0, 1])).toMatchObject({
      accepted: 0,
      repeated: 2,
      shard_done: true,
    });
    expect(finalizing).toContain(job.id);
    expect(await cases.getJob(job)).toMatchObject({ state: 'finalizing', succeeded: 2 });
    expect(await cases.segmentKeys(job)).toHaveLength(1);
  });
});

describe('I6: settled work never runs again', () => {
  it('tells the next holder which items have ended, and keeps their first outcome', async () => {
    const { job, offer } = await offerOf({ items: 6 });
    const first = await cases.take(offer, 'runner-1');
    await cases.settleItems(first, [1, 4]);
    cases.clock.advance(cases.config.leaseMs + 1);
    await cases.sweep();
    await cases.dispatcher.tick();
    const second = await cases.take({ shard_id: first.shard_id, epoch: first.epoch }, 'runner-2');
    expect(positionsOf(maskFromBase64(second.done_mask))).toEqual([1, 4]);
    expect(await cases.settleItems(second, [0, 1, 2, 3, 4, 5], false)).toMatchObject({
      accepted: 4,
      repeated: 2,
      shard_done: true,
    });
    expect(await cases.getJob(job)).toMatchObject({ succeeded: 2, failed: 4 });
  });
});

describe('a segment', () => {
  const line = (header: string, body = '{}') => Buffer.from(`${header}\t${body}\n`);
  const odd: readonly [what: string, line: Uint8Array][] = [
    ['names an item outside of the shard', segmentOf([9])],
    ['has no header', Buffer.from('no header at all\n')],
    ['has a header that is not JSON', line('{"i":')],
    ['has a header that is not an object', line('null')],
    ['has no item index "i"', line('{"i":"0"}')],
    ['has no custom id "c"', line('{"i":0,"ok":true,"st":200,"a":1,"ms":1,"r":"x"}')],
    ['has no outcome "ok"', line('{"i":0,"c":"id-0"}')],
    ['has no body although', line('{"i":0,"c":"id-0","ok":true,"st":200,"a":1,"ms":1,"r":"x"}', '')],
    ['has no error "e"', line('{"i":0,"c":"id-0","ok":false,"st":500,"a":1,"ms":1,"r":"x"}', '')],
    ['has no whole number "a"', line('{"i":0,"c":"id-0","ok":true,"st":200,"a":-1,"ms":1,"r":"x"}')],
    ['has a header of more than', line(`{"i":0,"c":"${'x'.repeat(70_000)}"}`)],
  ];

  it.each(odd)('with a line that %s is taken without that line, which is told', async (what, bytes) => {
    const { job, offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    const params = { shardId: lease.shard_id, epoch: lease.epoch };
    const alone = await cases.settle.run({ ...params, body: chunks(bytes) });
    expect(alone).toMatchObject({
      accepted: 0,
      refused: [{ line: 0, reason: expect.stringContaining(what) }],
    });
    expect(await cases.segmentKeys(job)).toEqual([]);
    const whole = Buffer.concat([segmentOf([1, 2]), bytes, segmentOf([3]), bytes]);
    // However the bytes come.
    for (const size of [1, 7, whole.length]) {
      const answer = await cases.settle.run({ ...params, body: inPieces(whole, size) });
      expect(answer.refused?.map((refused) => refused.line)).toEqual([2, 4]);
      expect(answer.accepted + answer.repeated).toBe(3);
    }
    expect(await cases.getJob(job)).toMatchObject({ succeeded: 3, failed: 0 });
    const [key = ''] = await cases.segmentKeys(job);
    const stored = Buffer.concat(await (await cases.blobs.get({ key })).toArray());
    expect(stored.equals(segmentOf([1, 2, 3]))).toBe(true);
    expect(await cases.settleItems(lease, [0], false)).toMatchObject({ accepted: 1, shard_done: true });
  });

  it('keeps an answer whose token counts count nothing', async () => {
    const { job, offer } = await offerOf({ items: 3 });
    const lease = await cases.take(offer);
    const counts = ['[1,-2,0,0]', '[1.5,0,0,0]', '"many"'];
    const body = chunks(
      ...counts.map((u, i) =>
        line(`{"i":${i},"c":"id-${i}","ok":true,"st":200,"a":1,"ms":1,"r":"x","u":${u}}`),
      ),
    );
    const answer = await cases.settle.run({ shardId: lease.shard_id, epoch: lease.epoch, body });
    expect(answer).toMatchObject({ accepted: 3, repeated: 0, shard_done: true });
    expect(answer).not.toHaveProperty('refused');
    expect(await cases.getJob(job)).toMatchObject({ succeeded: 3, usage: { inputTokens: 0 } });
  });

  it('without lines is refused, and leaves nothing behind', async () => {
    const { job, offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    const empty = cases.settle.run({ shardId: lease.shard_id, epoch: lease.epoch, body: chunks() });
    await expect(empty).rejects.toMatchObject({ code: 'invalid_request' });
    expect(await cases.segmentKeys(job)).toEqual([]);
  });

  it('of one answer may be as large as an answer may be, and flows into its object', async () => {
    const { job, offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    const mebibyte = Buffer.alloc(1024 * 1024, 'a');
    const answerOf = (index: number, mebibytes: number) => [
      Buffer.from(`{"i":${index},"c":"id-${index}","ok":true,"st":200,"a":1,"ms":1,"r":"x"}\t"`),
      ...Array.from({ length: mebibytes }, () => mebibyte),
      Buffer.from('"\n'),
    ];
    const settle = (...parts: Uint8Array[]) =>
      cases.settle.run({ shardId: lease.shard_id, epoch: lease.epoch, body: chunks(...parts) });
    expect(await settle(...answerOf(0, 40))).toMatchObject({ accepted: 1 });
    await expect(settle(...answerOf(1, 20), ...answerOf(2, 20))).rejects.toMatchObject({
      code: 'body_too_large',
    });
    await expect(settle(...answerOf(1, 200))).rejects.toMatchObject({ code: 'body_too_large' });
    expect(await cases.segmentKeys(job)).toHaveLength(1);
  });

  it('may come in any number of chunks, but not without end', async () => {
    const { offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    const whole = segmentOf([0, 1]);
    const bytes = Array.from(whole, (_, index) => whole.subarray(index, index + 1));
    const { shard_id: shardId, epoch } = lease;
    expect(await cases.settle.run({ shardId, epoch, body: chunks(...bytes) })).toMatchObject({ accepted: 2 });
    const mebibyte = new Uint8Array(1024 * 1024);
    const body = chunks(...Array.from({ length: 40 }, () => mebibyte));
    await expect(cases.settle.run({ shardId, epoch, body })).rejects.toMatchObject({
      code: 'body_too_large',
    });
  });

  it('leaves no object behind when the ledger refuses it', async () => {
    const { job, offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    const { shard_id: shardId, epoch } = lease;
    // Released after the first look, before the transaction.
    async function* slow() {
      yield segmentOf([0]);
      await cases.release.run({ shardId, epoch, reason: 'drain' });
    }
    await expect(cases.settle.run({ shardId, epoch, body: slow() })).rejects.toEqual(leaseLost);
    expect(await cases.segmentKeys(job)).toEqual([]);
  });
});

describe('a shard whose outcome is refused in every form', () => {
  it('is given back as lost: it is offered a bounded number of times, and its item fails with words', async () => {
    const { job, offer } = await offerOf({ items: 3 });
    const rounds: number[] = [];
    let offers = [offer];
    for (let round = 0; round < 50 && offers.length > 0; round += 1) {
      rounds.push(offers.length);
      for (const next of offers) {
        const lease = await cases.take(next);
        // Item 1 is the one whose outcome nobody can hand over.
        const own = [0, 2].filter(
          (index) => index >= lease.first_index && index < lease.first_index + lease.count,
        );
        if (own.length > 0) await cases.settleItems(lease, own);
        await cases.release.run({ shardId: lease.shard_id, epoch: lease.epoch, reason: 'refused' });
      }
      await cases.sweep();
      cases.recorder.offers.length = 0;
      await cases.dispatcher.tick();
      offers = [...cases.recorder.offers];
    }
    expect(rounds.length).toBeLessThanOrEqual(6);
    expect(await cases.getJob(job)).toMatchObject({ state: 'finalizing', succeeded: 2, failed: 1 });
    expect((await cases.getJob(job)).errorGroups[0]).toMatchObject({
      code: 'worker_lost',
      message: expect.stringContaining('could not hand the outcome over'),
      sample: { index: 1 },
    });
  });
});

describe('the lines of a shard', () => {
  it('are the holder’s bytes of the input', async () => {
    const job = await cases.createJob({ items: 10, shardItems: 4 });
    await cases.dispatcher.tick();
    const offer = cases.recorder.offers.at(1);
    if (!offer) throw new Error('nothing was offered');
    const lease = await cases.take(offer);
    expect(lease).toMatchObject({ job_id: job.id, first_index: 4, count: 4, remaining_ms: 86_400_000 });
    const signal = new AbortController().signal;
    const { bytes, lines } = await cases.lines.run({ shardId: lease.shard_id, epoch: lease.epoch, signal });
    const text = Buffer.concat(await lines.toArray()).toString();
    expect(text.length).toBe(bytes);
    expect(
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).custom_id),
    ).toEqual(['id-4', 'id-5', 'id-6', 'id-7']);
  });
});

describe('I7: a claim that cannot be judged now is busy, never refused', () => {
  it('keeps the offer alive while the ledger is away', async () => {
    const { offer } = await offerOf({ items: 1 });
    await cases.ledger.close();
    const answer = await cases.claim.run({ runner_id: 'r', shard_id: offer.shard_id, epoch: offer.epoch });
    expect(answer).toMatchObject({ outcome: 'busy' });
    await cases.close();
    cases = await openUseCases();
  });

  it('forgets an offer whose claim fails for a reason of its own, so that the lane goes on', async () => {
    const { offer } = await offerOf({ items: 1 });
    vi.spyOn(cases.ledger, 'claimShard').mockRejectedValue(new TypeError('a row that cannot be read'));
    const outcomes: string[] = [];
    for (let times = 0; times < 4; times += 1) {
      const claim = { runner_id: 'r', shard_id: offer.shard_id, epoch: offer.epoch };
      outcomes.push((await cases.claim.run(claim)).outcome);
    }
    expect(outcomes).toEqual(['busy', 'busy', 'refused', 'refused']);
    const unavailable = new StoreUnavailableError('away');
    vi.spyOn(cases.ledger, 'claimShard').mockRejectedValue(unavailable);
    const answer = await cases.claim.run({ runner_id: 'r', shard_id: 'shard_other', epoch: 0 });
    expect(answer).toMatchObject({ outcome: 'busy' });
    await cases.close();
    cases = await openUseCases();
  });
});

describe('I12: cancel is final', () => {
  it('starts nothing after the cancel, and keeps what was finished', async () => {
    const job = await cases.createJob({ items: 8, shardItems: 4 });
    await cases.dispatcher.tick();
    const [first, second] = cases.recorder.offers;
    if (!first || !second) throw new Error('two offers were due');
    const lease = await cases.take(first);
    await cases.settleItems(lease, [0]);
    await cases.ledger.stopJob({
      projectId: null,
      id: job.id,
      reason: 'cancelled',
      nowMs: cases.clock.nowMs(),
    });

    const late = await cases.claim.run({ runner_id: 'r', shard_id: second.shard_id, epoch: second.epoch });
    expect(late).toEqual({ outcome: 'refused', reason: 'ended' });
    const renewed = await cases.renew.run({ ...reportOf('runner-1'), leases: [lease] });
    expect(renewed.leases).toMatchObject([{ status: 'stop' }]);
    expect(await cases.settleItems(lease, [1])).toMatchObject({ accepted: 1, stop: true });
    const released: string[] = [];
    cases.signals.on('stopped-released', () => released.push('yes'));
    expect(await cases.release.run({ shardId: lease.shard_id, epoch: lease.epoch, reason: 'stopped' })).toBe(
      true,
    );
    expect(released).toEqual(['yes']);
    expect(await cases.getJob(job)).toMatchObject({
      state: 'finalizing',
      succeeded: 2,
      endReason: 'cancelled',
    });

    cases.recorder.offers.length = 0;
    cases.clock.advance(cases.config.offerTtlMs + 1);
    await cases.dispatcher.tick();
    expect(cases.recorder.offers).toEqual([]);
  });

  it('does not wait for a runner that says nothing for longer than the grace', async () => {
    const { job, offer } = await offerOf({ items: 4 });
    const lease = await cases.take(offer);
    await cases.ledger.stopJob({
      projectId: null,
      id: job.id,
      reason: 'cancelled',
      nowMs: cases.clock.nowMs(),
    });
    await cases.sweep();
    expect(await cases.getJob(job)).toMatchObject({ state: 'cancelling' });
    cases.clock.advance(cases.config.stopGraceMs + 1);
    const finalizing: string[] = [];
    cases.signals.on('job-finalizing', (jobId) => finalizing.push(jobId));
    await cases.sweep();
    expect(finalizing).toEqual([job.id]);
    await expect(cases.settleItems(lease, [0])).rejects.toEqual(leaseLost);
  });
});

async function* inPieces(whole: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
}
