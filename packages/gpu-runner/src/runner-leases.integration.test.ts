import { describe, expect, test } from 'vitest';
import { chatLines, until } from '../test/fixtures.js';
import { controlPlane, runner, sim } from '../test/runner-harness.js';
import { type Clock, monotonicClock } from './clock.js';

describe('the end of a lease', () => {
  test('stop settles what is done, aborts the rest within moments, and gives the shard back', async () => {
    const engine = await sim({ serviceTimeMs: 300, jitter: 0.9 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(200) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().completed >= 20, 'the job is under way');
    server.stop(jobId);
    await until(() => engine.stats().inFlight === 0, 'the engine is idle', 1_000);
    await until(() => server.leased(jobId) === 0, 'the lease is given back', 1_000);
    expect(server.releases.map(({ reason }) => reason)).toEqual(['stopped']);
    // Answers that were on their way when the connections were closed are lost.
    expect(server.ended(jobId)).toBeGreaterThanOrEqual(20);
    expect(server.ended(jobId)).toBeLessThanOrEqual(engine.stats().completed);
  });

  test('a drain lets requests in flight end, settles them, and gives the rest back', async () => {
    const engine = await sim({ serviceTimeMs: 100 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(200) });
    const started = await runner({ server: server.url, engineUrl: [engine.url], drainTimeout: 5 });
    await until(() => engine.stats().completed >= 20, 'the job is under way');
    await started.drain();
    await started.done;
    expect(engine.stats()).toMatchObject({ aborted: 0, inFlight: 0 });
    expect(server.ended(jobId)).toBe(engine.stats().completed);
    expect(server.releases.map(({ reason }) => reason)).toEqual(['drain']);
    expect(server.sessions).toBe(0);
  });

  test('a second signal ends a drain at once', async () => {
    const engine = await sim({ serviceTimeMs: 60_000 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(40) });
    const started = await runner({ server: server.url, engineUrl: [engine.url], drainTimeout: 60 });
    await until(() => engine.stats().inFlight === 32, 'the window is full');
    const drained = started.drain();
    void started.drain({ fast: true });
    await drained;
    await until(() => engine.stats().inFlight === 0, 'nothing runs any more', 1_000);
    expect(server.leased(jobId)).toBe(0);
  });

  test('a lease that was lost is dropped: nothing of it is counted twice', async () => {
    const engine = await sim({ serviceTimeMs: 100 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(150) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => server.ended(jobId) >= 64, 'something is settled');
    server.expire(jobId);
    await until(() => server.ended(jobId) === 150, 'all items ended');
    expect(server.fenced).toHaveLength(1);
    expect(server.resultsOf(jobId).every(({ header }) => header.ok)).toBe(true);
  });

  test('outcomes are kept while the control plane is away, and nothing runs twice', async () => {
    const engine = await sim({ serviceTimeMs: 30 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(200) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().completed >= 70, 'the job is under way');
    server.outage = 503;
    await until(() => engine.stats().completed === 200, 'the engine ends the shard meanwhile');
    server.outage = null;
    await until(() => server.ended(jobId) === 200, 'all items are settled');
    expect(engine.stats().received).toBe(200);
  });

  test('a settle whose answer was lost is repeated without harm', async () => {
    const engine = await sim();
    const server = await controlPlane();
    server.loseSettleAnswers = 2;
    // A renewal would tell as well that the shard is over, and the settle would not be repeated any more.
    server.leaseMs = 120_000;
    server.renewIntervalMs = 60_000;
    const jobId = server.addJob({ lines: chatLines(100) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => server.ended(jobId) === 100 && server.leased(jobId) === 0, 'all items ended');
    await until(() => server.settles.length > 2, 'the settle is repeated until it is answered');
    expect(server.ended(jobId)).toBe(100);
    expect(engine.stats().received).toBe(100);
  });

  test('work under a lease that cannot be renewed is aborted', async () => {
    const engine = await sim({ serviceTimeMs: 60_000 });
    const server = await controlPlane();
    server.leaseMs = 2_000;
    server.renewIntervalMs = 200;
    const jobId = server.addJob({ lines: chatLines(40) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().inFlight === 32, 'the window is full');
    server.outage = 503;
    await until(() => engine.stats().aborted === 32, 'the runner has aborted its work', 10_000);
    expect(server.ended(jobId)).toBe(0);
  });

  test('a runner whose clock leaps, as after a freeze, aborts its own work at once', async () => {
    let leapMs = 0;
    const clock: Clock = { ...monotonicClock, nowMs: () => monotonicClock.nowMs() + leapMs };
    const engine = await sim({ serviceTimeMs: 60_000 });
    const server = await controlPlane();
    server.addJob({ lines: chatLines(20) });
    await runner({ server: server.url, engineUrl: [engine.url] }, { clock });
    await until(() => engine.stats().inFlight === 20, 'all items run');
    leapMs = 60_000;
    await until(() => engine.stats().aborted >= 20, 'the runner has aborted its work', 5_000);
    await until(() => server.releases.length >= 1, 'the shard is given back');
  });

  test('a session that breaks is opened again, and the work goes on meanwhile', async () => {
    const engine = await sim({ serviceTimeMs: 30 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(300) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().completed >= 40, 'the job is under way');
    server.cutSessions();
    await until(() => server.sessions === 0, 'the session is gone');
    await until(() => server.sessions === 1, 'the session is back');
    await until(() => server.ended(jobId) === 300, 'all items ended');
    expect(engine.stats().received).toBe(300);
  });

  test('items that outlive their job go on until the control plane, whose clock decides, ends it', async () => {
    const engine = await sim({ serviceTimeMs: 60_000 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(5), remainingMs: 0 });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().received === 5, 'the requests are sent');
    server.stop(jobId);
    await until(() => engine.stats().aborted === 5, 'the requests are aborted');
    await until(() => server.releases.length === 1, 'the shard is given back');
    expect(server.ended(jobId)).toBe(0);
  });

  test('a job that was extended is run to its end, whatever the lease said at first', async () => {
    const engine = await sim({ serviceTimeMs: 40 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(40), remainingMs: 50 });
    await runner({ server: server.url, engineUrl: [engine.url], window: 4 });
    await until(() => server.ended(jobId) === 40, 'all items ended');
    expect(engine.stats().received).toBe(40);
  });
});
