import {
  type EngineSim,
  type EngineSimOptions,
  type FaultAction,
  startEngineSim,
} from '@batch-infer/testkit';
import { afterEach, describe, expect, test } from 'vitest';
import { FakeControlPlane } from '../test/fake-control-plane.js';
import { chatLines, recordingLogger, silentLogger, testConfig, until } from '../test/fixtures.js';
import { type Clock, monotonicClock } from './clock.js';
import type { RunnerOptions } from './config.js';
import { type Runner, type RunnerDependencies, startRunner } from './runner.js';

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function sim(options: EngineSimOptions = {}): Promise<EngineSim> {
  const engine = await startEngineSim({ serviceTimeMs: 10, ...options });
  closers.push(() => engine.close());
  return engine;
}

async function controlPlane(): Promise<FakeControlPlane> {
  const server = await new FakeControlPlane().start();
  closers.push(() => server.close());
  return server;
}

async function runner(options: RunnerOptions, dependencies: RunnerDependencies = {}): Promise<Runner> {
  const started = await startRunner(testConfig({ window: 32, drainTimeout: 1, ...options }), {
    logger: silentLogger,
    ...dependencies,
  });
  closers.push(() => started.drain({ fast: true }));
  return started;
}

async function runJob(
  engine: EngineSim,
  job: Parameters<FakeControlPlane['addJob']>[0],
  options: RunnerOptions = {},
) {
  const server = await controlPlane();
  const jobId = server.addJob(job);
  const started = await runner({ server: server.url, engineUrl: [engine.url], ...options });
  await until(() => server.ended(jobId) === job.lines.length, 'all items ended');
  return { server, jobId, runner: started, results: server.resultsOf(jobId) };
}

describe('a healthy engine', () => {
  test('every line comes back once, with the answer of its own request', async () => {
    const engine = await sim();
    const { results, server, runner: started } = await runJob(engine, { lines: chatLines(600) });
    expect(results.every(({ header }) => header.ok && header.st === 200 && header.a === 1)).toBe(true);
    expect(results.map(({ header }) => header.c)).toEqual(
      Array.from({ length: 600 }, (_, index) => `item-${index}`),
    );
    for (const [index, { body }] of results.entries()) expect(body).toContain(`item ${index} end`);
    expect(results[0]?.header.u?.[0]).toBeGreaterThan(0);
    expect(engine.stats().completed).toBe(600);
    expect(started.models).toEqual(['sim-model']);
    await until(() => server.leased([...server.results.keys()][0] ?? '') === 0, 'no lease is left');
  });
});

describe('10 % of one fault', () => {
  const faults: Record<string, FaultAction> = {
    'status 500': { kind: 'status', status: 500 },
    'a reset connection': { kind: 'reset', at: 'completion' },
    'a reset at arrival': { kind: 'reset' },
    'no answer': { kind: 'hang' },
    'a garbage body': { kind: 'garbage' },
    '429 with Retry-After': { kind: 'status', status: 429, retryAfterSeconds: 1 },
    'finish_reason abort': { kind: 'abort' },
    'a body cut in the middle': { kind: 'cutBody' },
  };
  test.each(Object.entries(faults))('%s: every item succeeds', async (_name, action) => {
    const engine = await sim({ faults: [{ match: { rate: 0.1 }, action }] });
    const { results } = await runJob(engine, { lines: chatLines(300), itemTimeoutMs: 1_000 });
    expect(results.filter(({ header }) => !header.ok)).toEqual([]);
  });
});

describe('items that cannot succeed', () => {
  test('a poison item fails alone after its attempts, with the words of the engine', async () => {
    const engine = await sim({
      faults: [{ match: { bodyIncludes: 'item 7 end' }, action: { kind: 'status', status: 500 } }],
    });
    const { results } = await runJob(engine, { lines: chatLines(300) });
    const failed = results.filter(({ header }) => !header.ok);
    expect(failed.map(({ header }) => header.i)).toEqual([7]);
    const [poison] = failed;
    const engineError = JSON.parse(poison?.body ?? '{}').error;
    expect(poison?.header).toMatchObject({
      st: 500,
      a: 3,
      e: { code: 'engine_error', message: engineError.message },
    });
    const poisonRequests = engine.requests().find((record) => record.marker.includes('item 7 end'));
    expect(poisonRequests?.received).toBe(3);
  });

  test('a refusal is final at the first attempt, and keeps the body of the engine', async () => {
    const engine = await sim({ maxModelLen: 64 });
    const lines = chatLines(20);
    const long = { model: 'sim-model', messages: [{ role: 'user', content: 'x'.repeat(2_000) }] };
    lines[3] = JSON.stringify({ custom_id: 'long', body: long });
    const { results } = await runJob(engine, { lines });
    expect(results.filter(({ header }) => !header.ok)).toHaveLength(1);
    expect(results[3]?.header).toMatchObject({
      c: 'long',
      st: 400,
      a: 1,
      e: { code: 'context_length_exceeded' },
    });
    expect(JSON.parse(results[3]?.body ?? '{}').error.message).toContain('context length');
  });

  test('a job whose every item is refused with 500 comes to its end', async () => {
    const engine = await sim({
      faults: [{ match: { bodyIncludes: 'bad' }, action: { kind: 'status', status: 500 } }],
    });
    const { results } = await runJob(engine, { lines: chatLines(8, 'bad') });
    expect(
      results.every(({ header }) => !header.ok && header.e?.code === 'engine_error' && header.st === 500),
    ).toBe(true);
  }, 100_000);
});

describe('an engine that goes away', () => {
  test('no item fails while it is dead, and all succeed when it is back', async () => {
    const engine = await sim({ serviceTimeMs: 30 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(400) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().completed >= 60, 'the job is under way');
    await engine.kill();
    await until(
      () => server.reports.some((report) => report.engines[0]?.problem !== null),
      'the trouble is reported',
    );
    await engine.revive();
    await until(() => server.ended(jobId) === 400, 'all items ended');
    expect(server.resultsOf(jobId).filter(({ header }) => !header.ok)).toEqual([]);
  });

  test('500 for everything opens the breaker: nobody is charged, and all succeed afterwards', async () => {
    const engine = await sim();
    const server = await controlPlane();
    const started = await runner({ server: server.url, engineUrl: [engine.url] });
    engine.setFaults([{ action: { kind: 'status', status: 500 } }]);
    const jobId = server.addJob({ lines: chatLines(200) });
    await until(() => started.report().engines[0]?.problem !== null, 'the breaker is open');
    await until(() => engine.stats().failed > 33, 'it was tried again');
    engine.setFaults([]);
    await until(() => server.ended(jobId) === 200, 'all items ended');
    expect(server.resultsOf(jobId).filter(({ header }) => !header.ok)).toEqual([]);
  });

  test('shards of an engine that stays away are given back', async () => {
    const engine = await sim({ serviceTimeMs: 50 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(300) });
    await runner({ server: server.url, engineUrl: [engine.url] }, { engineDownMs: 500 });
    await until(() => engine.stats().completed >= 40, 'the job is under way');
    await engine.kill();
    await until(() => server.leased(jobId) === 0, 'the leases are given back');
    expect(new Set(server.releases.map(({ reason }) => reason))).toEqual(new Set(['engine_down']));
    await engine.revive();
    await until(() => server.ended(jobId) === 300, 'all items ended');
    expect(server.resultsOf(jobId).filter(({ header }) => !header.ok)).toEqual([]);
  });

  test('an item that kills the engine every time fails alone', async () => {
    const engine = await sim({
      faults: [{ match: { bodyIncludes: 'item 7 end' }, action: { kind: 'die', reviveAfterMs: 300 } }],
    });
    const { results } = await runJob(engine, { lines: chatLines(30) }, { window: 8 });
    expect(results.filter(({ header }) => !header.ok).map(({ header }) => header.i)).toEqual([7]);
  });

  test('the other engine takes over', async () => {
    const [first, second] = [await sim({ serviceTimeMs: 30 }), await sim({ serviceTimeMs: 30 })];
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(400) });
    await runner({ server: server.url, engineUrl: [first.url, second.url] });
    await until(() => first.stats().completed > 20 && second.stats().completed > 20, 'both work');
    await first.kill();
    await until(() => server.ended(jobId) === 400, 'all items ended');
    expect(server.resultsOf(jobId).filter(({ header }) => !header.ok)).toEqual([]);
  });
});

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
    const jobId = server.addJob({ lines: chatLines(100) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => server.ended(jobId) === 100 && server.leased(jobId) === 0, 'all items ended');
    expect(server.settles.length).toBeGreaterThan(2);
    expect(engine.stats().received).toBe(100);
  });

  test('work under a lease that cannot be renewed is aborted before the lease is over', async () => {
    const engine = await sim({ serviceTimeMs: 60_000 });
    const server = await controlPlane();
    server.leaseMs = 2_000;
    server.renewIntervalMs = 200;
    const jobId = server.addJob({ lines: chatLines(40) });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().inFlight === 32, 'the window is full');
    server.outage = 503;
    const refusedAt = performance.now();
    await until(() => engine.stats().inFlight === 0, 'the runner has aborted its work', 3_000);
    expect(performance.now() - refusedAt).toBeLessThan(2_200);
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
    await until(() => engine.stats().inFlight === 0, 'the runner has aborted its work', 1_000);
    await until(() => server.releases.length === 1, 'the shard is given back');
  });

  test('items that outlive their job are left to the control plane', async () => {
    const engine = await sim({ serviceTimeMs: 60_000 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(5), remainingMs: 300 });
    await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().aborted === 5, 'the requests are aborted');
    expect(server.ended(jobId)).toBe(0);
    server.stop(jobId);
    await until(() => server.releases.length === 1, 'the shard is given back');
  });
});

describe('start', () => {
  const config = (server: FakeControlPlane, options: RunnerOptions) =>
    testConfig({ server: server.url, ...options });

  test('an engine that is not there is named at once, and given up after the wait', async () => {
    const server = await controlPlane();
    const logger = recordingLogger();
    const url = 'http://127.0.0.1:9';
    const failure = await startRunner(config(server, { engineUrl: [url], engineWait: 1 }), { logger }).catch(
      (error) => error,
    );
    expect(failure).toMatchObject({ code: 'engine_unavailable', exitCode: 9 });
    expect(failure.message).toContain(url);
    expect(failure.message).toContain('--engine-url');
    expect(logger.messages[0]).toContain('waiting for an engine');
  });

  test('a server that is no engine is told apart from one that is down', async () => {
    const server = await controlPlane();
    const started = startRunner(config(server, { engineUrl: [server.url], engineWait: 0.5 }), {
      logger: silentLogger,
    });
    await expect(started).rejects.toMatchObject({ code: 'not_an_engine', exitCode: 9 });
  });

  test('a model that the engine does not serve is refused with the list of those it does', async () => {
    const [server, engine] = [await controlPlane(), await sim({ models: ['alpha', 'beta'] })];
    const started = startRunner(config(server, { engineUrl: [engine.url], model: ['gamma'] }), {
      logger: silentLogger,
    });
    await expect(started).rejects.toThrow(/does not serve gamma; it serves alpha, beta/);
  });

  test('an engine that wants a key says so', async () => {
    const [server, engine] = [await controlPlane(), await sim({ apiKey: 'secret' })];
    const started = startRunner(config(server, { engineUrl: [engine.url] }), { logger: silentLogger });
    await expect(started).rejects.toMatchObject({ code: 'unauthorized', exitCode: 4 });
    const admitted = await runner({
      server: server.url,
      engineUrl: [`${engine.url}/v1/`],
      engineApiKey: 'secret',
    });
    expect(admitted.models).toEqual(['sim-model']);
  });

  test('a server that is no control plane is named', async () => {
    const engine = await sim();
    const started = startRunner(testConfig({ server: engine.url, engineUrl: [engine.url] }), {
      logger: silentLogger,
    });
    await expect(started).rejects.toMatchObject({ code: 'not_a_server', exitCode: 2 });
  });

  test('it waits for an engine that comes up later', async () => {
    const [server, engine] = [await controlPlane(), await sim()];
    await engine.kill();
    const starting = runner({ server: server.url, engineUrl: [engine.url] });
    await engine.revive();
    expect((await starting).models).toEqual(['sim-model']);
  });

  test('metrics and readiness are served on request', async () => {
    const [server, engine] = [await controlPlane(), await sim()];
    const jobId = server.addJob({ lines: chatLines(10) });
    const started = await runner({ server: server.url, engineUrl: [engine.url], metricsPort: 0 });
    await until(() => server.ended(jobId) === 10, 'all items ended');
    expect((await fetch(`${started.metricsUrl}/readyz`)).status).toBe(200);
    const page = await (await fetch(`${started.metricsUrl}/metrics`)).text();
    expect(page).toContain('batch_infer_runner_items_succeeded_total 10');
    expect(page).toContain(`batch_infer_runner_engine_up{engine="engine-0",url="${engine.url}"} 1`);
  });
});

describe('the window without --window', () => {
  test('it comes from the state of the engine, and keeps it full', async () => {
    const engine = await sim({ slots: 40, serviceTimeMs: 50 });
    const { runner: started } = await runJob(engine, { lines: chatLines(1_500) }, { window: undefined });
    expect(engine.stats().maxRunning).toBe(40);
    expect(started.report().engines[0]?.window).toBeLessThan(400);
  });

  test('an engine without metrics is searched', async () => {
    const engine = await sim({ slots: 40, serviceTimeMs: 50 });
    engine.setMetricsFault({ kind: 'missing' });
    const { runner: started } = await runJob(engine, { lines: chatLines(1_500) }, { window: undefined });
    expect(engine.stats().maxRunning).toBeGreaterThan(30);
    expect(started.report().engines[0]?.window).toBeLessThan(400);
  });

  test('an engine that refuses with 503 is not drowned, and no item is charged', async () => {
    const engine = await sim({ slots: 8, serviceTimeMs: 20, maxQueuedRequests: 8 });
    const { results } = await runJob(engine, { lines: chatLines(400) }, { window: undefined });
    expect(results.every(({ header }) => header.ok && header.a === 1)).toBe(true);
  });
});
