import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ORPHAN_AGE_MS } from '../files/record-objects.js';
import type { Ledger } from '../ports/ledger.js';
import { StoreBusyError, StoreUnavailableError } from '../ports/outage.js';
import { openUseCases, type UseCases, watchOutages } from '../use-cases-fixture.js';
import { OrphanSweep } from './orphan-sweep.js';
import { Sweeper } from './sweeper.js';

let cases: UseCases;

beforeEach(async () => {
  cases = await openUseCases();
});

afterEach(() => cases.close());

/** Claims everything that is offered, and dies with it. */
async function runnerDies(): Promise<number> {
  cases.recorder.offers.length = 0;
  await cases.dispatcher.tick();
  for (const offer of cases.recorder.offers) await cases.take(offer);
  cases.clock.advance(cases.config.leaseMs + 1);
  await cases.sweep();
  return cases.recorder.offers.length;
}

describe('the sweeper', () => {
  it('gives the work of a dead runner back', async () => {
    await cases.createJob({ items: 4 });
    let ready = 0;
    cases.signals.on('work-ready', () => {
      ready += 1;
    });
    await runnerDies();
    expect(ready).toBe(1);
    const [lane] = await cases.ledger.backlog();
    expect(lane).toMatchObject({ readyShards: 1, leasedShards: 0, readyItems: 4, offeredShards: 0 });
  });

  it('I10: fails an item that kills every runner alone, and says how many were lost', async () => {
    const job = await cases.createJob({ items: 4 });
    const poison = 2;
    for (let round = 0; round < 20; round += 1) {
      cases.recorder.offers.length = 0;
      await cases.dispatcher.tick();
      if (cases.recorder.offers.length === 0) break;
      for (const offer of cases.recorder.offers) {
        const lease = await cases.take(offer);
        const items = Array.from({ length: lease.count }, (_, position) => lease.first_index + position);
        // The runner dies as soon as the poison is among its items.
        if (items.includes(poison)) continue;
        await cases.settleItems(lease, items);
      }
      cases.clock.advance(cases.config.leaseMs + 1);
      await cases.sweep();
    }
    const ended = await cases.getJob(job);
    expect(ended).toMatchObject({ state: 'finalizing', succeeded: 3, failed: 1 });
    expect(ended.errorGroups).toMatchObject([
      { code: 'worker_lost', count: 1, sample: { index: poison, custom_id: `id-${poison}` } },
    ]);
    expect(ended.errorGroups[0]?.message).toMatch(/\d+ runners were lost/);
  });

  it('expires jobs at their time, and stops their runners', async () => {
    const idle = await cases.createJob({ items: 4, expiresInMs: 60_000 });
    const busy = await cases.createJob({ items: 4, expiresInMs: 60_000 });
    await cases.dispatcher.tick();
    const offer = cases.recorder.offers.find(({ job_id }) => job_id === busy.id);
    if (!offer) throw new Error('nothing was offered');
    const lease = await cases.take(offer);
    const stopping: string[] = [];
    const finalizing: string[] = [];
    cases.signals.on('job-stopping', (jobId, reason) => stopping.push(`${jobId} ${reason}`));
    cases.signals.on('job-finalizing', (jobId) => finalizing.push(jobId));
    cases.clock.advance(59_999);
    await cases.renew.run({ ...emptyReport, leases: [lease] });
    await cases.sweep();
    expect(stopping).toEqual([]);
    cases.clock.advance(1);
    await cases.sweep();
    expect(stopping.sort()).toEqual([`${idle.id} expired`, `${busy.id} expired`].sort());
    expect(finalizing).toEqual([idle.id]);
    expect(await cases.getJob(busy)).toMatchObject({ state: 'cancelling', endReason: 'expired' });
  });
});

const emptyReport = {
  runner_id: 'runner-1',
  version: '0',
  models: ['m'],
  engines: [],
  free_slots: 0,
  in_flight: 0,
  items_per_second: 0,
};

/** A sweeper over a ledger that can be away; the ledger was well until now. */
async function failable() {
  await cases.sweep();
  const state: { away: Error | null; failForgiving: number } = { away: null, failForgiving: 0 };
  const ledger: Ledger = {
    ...cases.ledger,
    lastAliveMs: async () => {
      if (state.away !== null) throw state.away;
      return cases.ledger.lastAliveMs();
    },
    forgiveOutage: async (params) => {
      state.failForgiving -= 1;
      if (state.failForgiving >= 0) throw new StoreUnavailableError('away');
      return cases.ledger.forgiveOutage(params);
    },
  };
  const sweeper = new Sweeper(ledger, cases.signals, cases.metrics, cases.clock, cases.config);
  return { sweeper, outages: watchOutages(ledger), state };
}

describe('I13: time in which the ledger was away is forgiven', () => {
  it('expires neither leases nor jobs for it', async () => {
    const job = await cases.createJob({ items: 4, expiresInMs: 120_000 });
    await cases.dispatcher.tick();
    const [offer] = cases.recorder.offers;
    if (!offer) throw new Error('nothing was offered');
    const lease = await cases.take(offer);
    const { sweeper, outages, state } = await failable();

    state.away = new StoreUnavailableError('away');
    await expect(sweeper.tick(outages)).rejects.toThrow('away');
    cases.clock.advance(600_000);
    await expect(sweeper.tick(outages)).rejects.toThrow('away');
    state.away = null;
    await sweeper.tick(outages);
    const after = await cases.getJob(job);
    expect(after.state).toBe('running');
    expect(after.expiresAtMs).toBe(job.expiresAtMs + 600_000);
    cases.clock.advance(cases.config.leaseMs - 1);
    await sweeper.tick(outages);
    expect(await cases.settleItems(lease, [0, 1, 2, 3])).toMatchObject({ accepted: 4 });
  });

  it('forgives it when the first try to do so fails', async () => {
    const job = await cases.createJob({ items: 4, expiresInMs: 120_000 });
    const { sweeper, outages, state } = await failable();
    state.away = new StoreUnavailableError('away');
    cases.clock.advance(600_000);
    await expect(sweeper.tick(outages)).rejects.toThrow('away');
    state.away = null;
    state.failForgiving = 1;
    await expect(sweeper.tick(outages)).rejects.toThrow('away');
    await sweeper.tick(outages);
    await sweeper.tick(outages);
    expect((await cases.getJob(job)).expiresAtMs).toBe(job.expiresAtMs + 600_000);
  });

  it('forgives it when every process was started again meanwhile', async () => {
    const job = await cases.createJob({ items: 4, expiresInMs: 120_000 });
    const { sweeper } = await failable();
    cases.clock.advance(600_000);
    const outages = watchOutages(cases.ledger, { silenceMs: 20_000 });
    await sweeper.tick(outages);
    await sweeper.tick(watchOutages(cases.ledger, { silenceMs: 20_000 }));
    expect((await cases.getJob(job)).expiresAtMs).toBe(job.expiresAtMs + 600_000);
  });

  it('forgives nothing for connections that are all in use', async () => {
    const job = await cases.createJob({ items: 4, expiresInMs: 120_000 });
    const { sweeper, outages, state } = await failable();
    state.away = new StoreBusyError('busy');
    cases.clock.advance(60_000);
    await expect(sweeper.tick(outages)).rejects.toThrow('busy');
    state.away = null;
    await sweeper.tick(outages);
    expect((await cases.getJob(job)).expiresAtMs).toBe(job.expiresAtMs);
  });

  it('counts everything else', async () => {
    const job = await cases.createJob({ items: 4, expiresInMs: 120_000 });
    await cases.sweep();
    cases.clock.advance(120_000);
    await cases.sweep();
    expect(await cases.getJob(job)).toMatchObject({ state: 'finalizing', endReason: 'expired' });
  });
});

describe('the orphan sweep', () => {
  it('deletes old objects that no row names, and no others', async () => {
    const job = await cases.createJob({ items: 4 });
    await cases.dispatcher.tick();
    const [offer] = cases.recorder.offers;
    if (!offer) throw new Error('nothing was offered');
    await cases.settleItems(await cases.take(offer), [0]);
    const orphan = `default/segments/${job.id}/seg_orphan`;
    await cases.blobs.put({ key: orphan, body: Buffer.from('left behind') });
    const timeOf = (offsetMs: number) => ({ nowMs: () => Date.now() + offsetMs });

    expect(await new OrphanSweep(cases.ledger, cases.blobs, timeOf(0)).tick()).toBe(0);
    expect(await new OrphanSweep(cases.ledger, cases.blobs, timeOf(ORPHAN_AGE_MS + 60_000)).tick()).toBe(1);
    expect(await cases.blobs.head({ key: orphan })).toBeNull();
    expect(await cases.segmentKeys(job)).toHaveLength(1);
    expect(await cases.blobs.head({ key: job.inputBlobKey })).not.toBeNull();
  });
});
