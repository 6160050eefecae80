import type { FaultAction } from '@batch-infer/testkit';
import { describe, expect, test } from 'vitest';
import { chatLines, until } from '../test/fixtures.js';
import { controlPlane, runJob, runner, sim } from '../test/runner-harness.js';

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
