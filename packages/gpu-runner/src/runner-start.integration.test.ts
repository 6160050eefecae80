import { describe, expect, test } from 'vitest';
import type { FakeControlPlane } from '../test/fake-control-plane.js';
import { chatLines, recordingLogger, silentLogger, testConfig, until } from '../test/fixtures.js';
import { controlPlane, runJob, runner, sim } from '../test/runner-harness.js';
import type { RunnerOptions } from './config.js';
import { startRunner } from './runner.js';

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

  test('engines with different models each get their own items, also one that comes up late', async () => {
    const [server, first, second] = [
      await controlPlane(),
      await sim({ models: ['alpha'] }),
      await sim({ models: ['beta'] }),
    ];
    await second.kill();
    const line = (model: string) =>
      JSON.stringify({ body: { model, messages: [{ role: 'user', content: model }] } });
    const alpha = server.addJob({ lines: Array.from({ length: 40 }, () => line('alpha')), model: 'alpha' });
    const beta = server.addJob({ lines: Array.from({ length: 40 }, () => line('beta')), model: 'beta' });
    const started = await runner({ server: server.url, engineUrl: [first.url, second.url] });
    await until(() => server.ended(alpha) === 40, 'the first model is served');
    expect(started.models).toEqual(['alpha']);
    await second.revive();
    await until(() => server.ended(beta) === 40, 'the second model is served');
    expect(started.models).toEqual(['alpha', 'beta']);
    expect([first.stats().received, second.stats().received]).toEqual([40, 40]);
  });

  test('a control plane that sends offers over Kafka wants to be told the brokers', async () => {
    const [server, engine] = [await controlPlane(), await sim()];
    server.transport = 'kafka';
    const started = startRunner(config(server, { engineUrl: [engine.url] }), { logger: silentLogger });
    await expect(started).rejects.toMatchObject({ code: 'transport_mismatch', exitCode: 2 });
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
