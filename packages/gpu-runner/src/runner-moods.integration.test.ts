import type { FaultRule } from '@batch-infer/testkit';
import { describe, expect, test } from 'vitest';
import { chatLines, until } from '../test/fixtures.js';
import { controlPlane, runJob, runner, sim } from '../test/runner-harness.js';

const refusing = (status: number, body: string): FaultRule[] => [
  { action: { kind: 'status', status, body } },
];

describe('an engine that refuses everything for a while', () => {
  test.each([
    ['404 of a proxy without its engine', 404, '404 page not found\n'],
    ['401 of a gateway that starts', 401, '{"error":"Unauthorized"}'],
    ['403 as HTML', 403, '<html><head><title>403 Forbidden</title></head></html>'],
    [
      '400 in the words of an engine',
      400,
      '{"error":{"message":"bad request","type":"BadRequestError","code":400}}',
    ],
    ['422 in the words of a framework', 422, '{"detail":[{"loc":["body","x"],"msg":"field required"}]}'],
    ['a page with status 200', 200, '<html>We are back soon</html>'],
  ])('%s: no item is lost, and the pause has its reason', async (_name, status, body) => {
    const engine = await sim({ serviceTimeMs: 20 });
    const server = await controlPlane();
    const jobId = server.addJob({ lines: chatLines(400) });
    const started = await runner({ server: server.url, engineUrl: [engine.url] });
    await until(() => engine.stats().completed >= 60, 'the job is under way');
    engine.setFaults(refusing(status, body));
    await until(
      () => started.report().engines[0]?.problem?.includes(` ${status} `) === true,
      'the pause is told',
    );
    expect(started.report().engines[0]?.healthy).toBe(false);
    engine.setFaults([]);
    await until(() => server.ended(jobId) === 400, 'all items ended');
    expect(server.resultsOf(jobId).filter(({ header }) => !header.ok)).toEqual([]);
  });
});

test('one of three replicas without the model is paused, and the others do its work', async () => {
  const missing = '{"error":{"message":"The model `sim-model` does not exist.","param":"model","code":404}}';
  const engines = [await sim(), await sim({ faults: refusing(404, missing) }), await sim()];
  const server = await controlPlane();
  const jobId = server.addJob({ lines: chatLines(300) });
  const started = await runner({ server: server.url, engineUrl: engines.map(({ url }) => url), window: 8 });
  await until(() => server.ended(jobId) === 300, 'all items ended');
  expect(server.resultsOf(jobId).filter(({ header }) => !header.ok)).toEqual([]);
  const problems = started.report().engines.map(({ problem }) => problem);
  expect(problems).toEqual([null, expect.stringContaining('404'), null]);
});

describe('a job that is bad', () => {
  const bad = (text: string): FaultRule => ({
    match: { bodyIncludes: text },
    action: { kind: 'status', status: 400, body: '{"error":{"message":"temperature must be non-negative"}}' },
  });

  test('in every line comes to its end at once, with the words of the engine', async () => {
    const engine = await sim({ faults: [bad('item ')] });
    const { results } = await runJob(engine, { lines: chatLines(600) });
    const message = 'temperature must be non-negative';
    for (const { header } of results) expect(header).toMatchObject({ ok: false, st: 400, e: { message } });
    expect(engine.stats().received).toBeLessThan(700);
  });

  test('in one line, which is all of it, is asked about once', async () => {
    const engine = await sim({ faults: [bad('item ')] });
    const { results } = await runJob(engine, { lines: chatLines(1) });
    expect(results[0]?.header).toMatchObject({ ok: false, st: 400, a: 1 });
    expect(engine.requests().find(({ marker }) => marker.includes('item'))?.received).toBe(1);
  });

  test('in every second line fails in these, each sent once', async () => {
    const engine = await sim({ faults: [bad('7 end'), bad('2 end')] });
    const { results } = await runJob(engine, { lines: chatLines(200) });
    expect(results.filter(({ header }) => !header.ok)).toHaveLength(40);
    const sentAgain = engine
      .requests()
      .filter(({ marker, received }) => / (?:\d*[27]) end/.test(marker) && received > 1);
    expect(sentAgain.length).toBeLessThan(4);
  });
});
