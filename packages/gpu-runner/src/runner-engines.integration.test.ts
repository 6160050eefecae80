import { expect, test } from 'vitest';
import { chatLines, until } from '../test/fixtures.js';
import { controlPlane, runner, sim } from '../test/runner-harness.js';

const topicOf = (body: Readonly<Record<string, unknown>>): string =>
  /topic \d+/.exec(JSON.stringify(body))?.[0] ?? '';

/** Lines whose prompts share long beginnings, the topics mixed. */
const topicLines = (topics: number, each: number): string[] =>
  Array.from({ length: topics * each }, (_, index) => {
    const system = `Be brief. topic ${index % topics}. ${'Keep to the rules. '.repeat(80)}`;
    const messages = [
      { role: 'system', content: system },
      { role: 'user', content: `question ${index}` },
    ];
    return JSON.stringify({ custom_id: `q-${index}`, body: { model: 'sim-model', messages } });
  });

test('prompts that begin alike go to one engine, and both engines are busy', async () => {
  const seen: Map<string, number>[] = [new Map(), new Map()];
  const engines = await Promise.all(
    seen.map((counts) =>
      sim({
        ...{ slots: 8, serviceTimeMs: 20 },
        onRequest: ({ body }) => {
          const topic = topicOf(body);
          counts.set(topic, (counts.get(topic) ?? 0) + 1);
          return undefined;
        },
      }),
    ),
  );
  const server = await controlPlane();
  const lines = topicLines(16, 60);
  const jobId = server.addJob({ lines });
  await runner({ server: server.url, engineUrl: engines.map((engine) => engine.url), window: 8 });
  await until(() => server.ended(jobId) === lines.length, 'all items ended');
  const topics = Array.from({ length: 16 }, (_, index) => `topic ${index}`);
  const atHome = topics.reduce(
    (sum, topic) => sum + Math.max(...seen.map((counts) => counts.get(topic) ?? 0)),
    0,
  );
  expect(atHome / lines.length).toBeGreaterThan(0.75);
  for (const engine of engines) expect(engine.stats().completed).toBeGreaterThan(lines.length / 5);
});

test('an engine that comes back with another model is used for that one, and no item fails for it', async () => {
  const [first, second] = [await sim({ serviceTimeMs: 20 }), await sim({ serviceTimeMs: 20 })];
  const server = await controlPlane();
  const jobId = server.addJob({ lines: chatLines(400) });
  const started = await runner({ server: server.url, engineUrl: [first.url, second.url], window: 4 });
  await until(() => first.stats().completed >= 10, 'both engines work');
  const { port } = new URL(first.url);
  await first.close();
  const other = await sim({ port: Number(port), models: ['other-model'] });
  await until(() => server.ended(jobId) === 400, 'all items ended');
  expect(server.resultsOf(jobId).every(({ header }) => header.ok)).toBe(true);
  await until(() => started.report().engines[0]?.models.join() === 'other-model', 'its list is read again');
  expect([...started.models].sort()).toEqual(['other-model', 'sim-model']);
  expect(other.stats().completed).toBe(0);
  const body = { messages: [{ role: 'user', content: 'x' }] };
  const plainJob = server.addJob({
    lines: [JSON.stringify({ body })],
    ...{ model: 'other-model', defaultModel: 'other-model' },
  });
  await until(() => server.ended(plainJob) === 1, 'the new model is served');
  expect(server.resultsOf(plainJob)[0]?.header.ok).toBe(true);
});

test('a model that no engine has is the item’s failure, after the engine was asked for its list', async () => {
  const engine = await sim();
  const server = await controlPlane();
  const lines = [JSON.stringify({ body: { model: 'unknown', messages: [{ role: 'user', content: 'x' }] } })];
  const jobId = server.addJob({ lines });
  await runner({ server: server.url, engineUrl: [engine.url] });
  await until(() => server.ended(jobId) === 1, 'the item ended');
  expect(server.resultsOf(jobId)[0]?.header.e?.code).toBe('model_not_found');
});
