import type { SessionEvent } from '@batch-infer/contracts/runner-protocol';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ANY_RUNNER, type RunnerIdentity } from '../ports/runners.js';
import { openUseCases, reportOf, type UseCases } from '../use-cases-fixture.js';
import type { RunnerSessions, Session } from './runner-sessions.js';

let cases: UseCases;
let gone: string[];

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  cases = await openUseCases();
  gone = [];
  cases.signals.on('runner-gone', (runnerId) => gone.push(runnerId));
});

afterEach(async () => {
  cases.sessions.close();
  vi.useRealTimers();
  await cases.close();
});

class FakeSession implements Session {
  readonly events: SessionEvent[] = [];
  closed = false;

  constructor(
    readonly runnerId: string,
    readonly sessions: RunnerSessions,
    readonly identity: RunnerIdentity = ANY_RUNNER,
  ) {}

  keyHolds = true;

  async isAllowed(): Promise<boolean> {
    return this.keyHolds;
  }

  send(event: SessionEvent): void {
    this.events.push(event);
  }

  close(): void {
    this.closed = true;
    this.sessions.ended(this);
  }
}

async function connect(runnerId = 'runner-1', identity?: RunnerIdentity): Promise<FakeSession> {
  const session = new FakeSession(runnerId, cases.sessions, identity);
  await cases.sessions.open(session, reportOf(runnerId));
  return session;
}

/** Lets time pass on both clocks, and what it set off come to its end. */
async function pass(durationMs: number): Promise<void> {
  cases.clock.advance(durationMs);
  await vi.advanceTimersByTimeAsync(durationMs);
  // SQLite answers in microtasks, but through several of them.
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function leasedJob() {
  const job = await cases.createJob({ items: 4 });
  await cases.dispatcher.tick();
  const offer = cases.recorder.offers.at(-1);
  if (!offer) throw new Error('nothing was offered');
  return { job, lease: await cases.take(offer) };
}

const knownRunners = async (): Promise<string[]> =>
  (await cases.ledger.listRunners({ seenAfterMs: 0 })).map(({ report }) => report.runner_id);

describe('a runner session', () => {
  it('begins with a welcome and lists the runner', async () => {
    const session = await connect();
    expect(session.events).toEqual([
      { type: 'welcome', lease_ms: 30_000, renew_interval_ms: 2_500, transport: 'direct' },
    ]);
    expect(await knownRunners()).toContain('runner-1');
  });

  it('that ended before it had quite begun does not stay', async () => {
    const session = new FakeSession('runner-1', cases.sessions);
    const opening = cases.sessions.open(session, reportOf('runner-1'));
    cases.sessions.ended(session);
    await opening;
    expect(cases.sessions.count).toBe(0);
    expect(session.events).toEqual([]);
  });

  it('is closed within five seconds when its key is revoked or expires', async () => {
    await cases.sessions.start();
    const [revoked, other] = [await connect('runner-1'), await connect('runner-2')];
    revoked.keyHolds = false;
    await pass(1_000);
    expect([revoked.closed, other.closed]).toEqual([true, false]);
  });

  it('is pinged, and told which jobs to stop', async () => {
    await cases.sessions.start();
    const session = await connect();
    await pass(5_000);
    cases.signals.emit('job-stopping', 'job_1', 'cancelled');
    expect(session.events.slice(1)).toEqual([
      { type: 'ping' },
      { type: 'stop', job_ids: ['job_1'], reason: 'cancelled' },
    ]);
  });

  it('of one project hears of that project alone', async () => {
    await cases.sessions.start();
    const job = await cases.createJob({ items: 1, projectId: 'alpha' });
    const of = (name: string, projectId: string | null) =>
      connect(name, { keyId: `key of ${name}`, projectId });
    const [alpha, beta, all] = [await of('1', 'alpha'), await of('2', 'beta'), await of('3', null)];
    cases.signals.emit('job-stopping', job.id, 'cancelled');
    await pass(0);
    const stops = [alpha, beta, all].map(({ events }) => events.filter(({ type }) => type === 'stop').length);
    expect(stops).toEqual([1, 0, 1]);
  });

  it('is not taken over by another key while its runner lives, and by the same key it is', async () => {
    const identity = { keyId: 'key_a', projectId: 'alpha' };
    const session = await connect('runner-1', identity);
    const foreign = connect('runner-1', { keyId: 'key_b', projectId: 'beta' });
    await expect(foreign).rejects.toMatchObject({ code: 'runner_id_taken' });
    const renewal = { ...reportOf('runner-1', ['forged']), leases: [] };
    await expect(cases.renew.run(renewal, { keyId: 'key_b', projectId: 'alpha' })).rejects.toMatchObject({
      code: 'runner_id_taken',
    });
    expect(session.closed).toBe(false);
    const known = await cases.ledger.listRunners({ seenAfterMs: 0 });
    expect(JSON.stringify(known)).not.toContain('forged');
    await connect('runner-1', identity);
    expect(session.closed).toBe(true);
    cases.clock.advance(cases.config.leaseMs);
    await connect('runner-1', { keyId: 'key_b', projectId: 'beta' });
  });

  it('whose report is too long, alone or with those of its project, is refused', async () => {
    const models = (count: number) => Array.from({ length: count }, (_, at) => `${at}`.padEnd(1_000, 'x'));
    const beta = { keyId: 'key_b', projectId: 'beta' };
    const save = (name: string, count: number) =>
      cases.renew.run({ ...reportOf(name, models(count)), leases: [] }, beta);
    await expect(save('long', 300)).rejects.toMatchObject({ code: 'body_too_large' });
    const saves = await Promise.allSettled(Array.from({ length: 30 }, (_, at) => save(`many ${at}`, 200)));
    expect(saves.filter(({ status }) => status === 'fulfilled').length).toBeLessThan(25);
    await cases.renew.run({ ...reportOf('other', models(200)), leases: [] }, { ...beta, projectId: 'alpha' });
  });

  it('takes its runner with it: the leases end after the grace, not at their time', async () => {
    const { lease } = await leasedJob();
    const session = await connect();
    let over = 0;
    cases.signals.on('leases-over', () => {
      over += 1;
    });
    cases.sessions.ended(session);
    await pass(cases.config.sessionGraceMs - 1);
    expect(gone).toEqual([]);
    await pass(1);
    expect(gone).toEqual(['runner-1']);
    expect(over).toBe(1);
    await cases.sweep();
    await expect(cases.settleItems(lease, [0])).rejects.toMatchObject({ code: 'lease_lost' });
    expect(await knownRunners()).not.toContain('runner-1');
  });

  it('may come back within the grace', async () => {
    const { lease } = await leasedJob();
    cases.sessions.ended(await connect());
    await pass(cases.config.sessionGraceMs - 1);
    await connect();
    await pass(cases.config.sessionGraceMs * 2);
    expect(gone).toEqual([]);
    await cases.sweep();
    expect(await cases.settleItems(lease, [0])).toMatchObject({ accepted: 1 });
  });

  it('is not missed when its runner renews, here or at another control plane', async () => {
    const { lease } = await leasedJob();
    cases.sessions.ended(await connect());
    await pass(1_000);
    await cases.renew.run({ ...reportOf('runner-1'), leases: [lease] });
    await pass(cases.config.sessionGraceMs);
    expect(gone).toEqual([]);
    expect(await cases.settleItems(lease, [0])).toMatchObject({ accepted: 1 });
  });

  it('replaces the older one of the same runner, whose end then means nothing', async () => {
    const older = await connect();
    const newer = await connect();
    expect(older.closed).toBe(true);
    await pass(cases.config.sessionGraceMs * 2);
    expect(gone).toEqual([]);
    expect(newer.closed).toBe(false);
    expect(cases.sessions.count).toBe(1);
  });

  it('is ended at shutdown without taking its runner for dead', async () => {
    const { lease } = await leasedJob();
    const session = await connect();
    cases.sessions.close();
    expect(session.closed).toBe(true);
    await pass(cases.config.sessionGraceMs * 2);
    expect(gone).toEqual([]);
    expect(await cases.settleItems(lease, [0])).toMatchObject({ accepted: 1 });
  });
});

describe('after a restart', () => {
  it('runners that the ledger remembers and nobody hears of are taken for dead', async () => {
    await leasedJob();
    await cases.ledger.saveRunner({ report: reportOf('runner-1'), nowMs: cases.clock.nowMs() });
    await cases.ledger.saveRunner({ report: reportOf('runner-2'), nowMs: cases.clock.nowMs() });
    await cases.sessions.start();
    await pass(1_000);
    await cases.renew.run({ ...reportOf('runner-2'), leases: [] });
    await pass(cases.config.sessionGraceMs * 2);
    expect(gone).toEqual(['runner-1']);
  });

  it('asks again when the ledger does not answer in the moment of judgement', async () => {
    cases.sessions.ended(await connect());
    const listRunners = vi.spyOn(cases.ledger, 'listRunners').mockRejectedValueOnce(new Error('away'));
    await pass(cases.config.sessionGraceMs);
    expect(listRunners).toHaveBeenCalledTimes(1);
    expect(gone).toEqual([]);
    await pass(cases.config.sessionGraceMs);
    expect(gone).toEqual(['runner-1']);
  });
});
