import { readFileSync } from 'node:fs';
import { type EngineSim, type EngineSimOptions, startEngineSim } from '@batch-infer/testkit';
import { afterEach, describe, expect, test } from 'vitest';
import { parseGauges } from '../window/gauges.js';
import { type Json, parseJsonObject } from './answer.js';
import { classify } from './classify.js';

/** What vLLM 0.32.0 said to `npm run validate:vllm -- --record`. */
const folder = new URL('../../../testkit/src/engine-sim/fixtures/vllm-0.32.0/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');

interface Recorded {
  readonly name: string;
  readonly status: number;
  readonly body: string;
  readonly classifiedAs: string;
}

const CHAT = '/v1/chat/completions';
const recorded: readonly Recorded[] = JSON.parse(read('answers.json'));
const metricsPage = read('metrics.txt');

function answerNamed(name: string): Recorded {
  const found = recorded.find((answer) => answer.name === name);
  if (found === undefined) throw new Error(`nothing was recorded for "${name}"`);
  return found;
}

const EXPECTED: readonly [name: string, status: number, verdict: string][] = [
  ['chat completion', 200, 'success'],
  ['long beginning, again', 200, 'success'],
  ['unknown model', 404, 'model_not_found'],
  ['prompt longer than the context', 400, 'context_length_exceeded'],
  ['max_tokens longer than the context', 400, 'context_length_exceeded'],
  ['temperature -1', 400, 'invalid_request'],
  ['temperature "hot"', 400, 'invalid_request'],
  ['max_tokens 0', 400, 'invalid_request'],
  ['broken JSON', 400, 'invalid_request'],
  ['queue cap', 503, 'engine_overloaded'],
  ['shutdown with timeout 60, in flight', 200, 'success'],
  ['shutdown with timeout 60, late', 500, 'engine_aborted'],
  ['shutdown with timeout 0, in flight', 500, 'engine_aborted'],
];

describe('what a real vLLM said', () => {
  test.each(EXPECTED)('%s: %i is told as %s', (name, status, code) => {
    const answer = answerNamed(name);
    const reply = {
      kind: 'answer',
      status,
      retryAfterMs: null,
      ms: 1,
      body: Buffer.from(answer.body),
    } as const;
    const verdict = classify(CHAT, reply);
    expect(answer.status).toBe(status);
    expect(verdict?.ok === true ? 'success' : verdict?.code).toBe(code);
  });

  test('cached tokens of its usage are counted', () => {
    const { status, body } = answerNamed('long beginning, again');
    const verdict = classify(CHAT, {
      ...{ kind: 'answer', status, retryAfterMs: null, ms: 1 },
      body: Buffer.from(body),
    });
    // Whole blocks of 128 tokens, as the CPU build has them.
    const cached = verdict?.ok === true ? (verdict.usage?.[1] ?? 0) : 0;
    expect(cached).toBeGreaterThan(0);
    expect(cached % 128).toBe(0);
  });

  test('its metrics page is read', () => {
    const gauges = parseGauges(metricsPage, null);
    expect(gauges).toMatchObject({ running: 0, waiting: 0, slots: null });
    expect(gauges?.kvTokens).toBe(46_592);
  });
});

const open: EngineSim[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((sim) => sim.close()));
});

async function start(options: EngineSimOptions = {}): Promise<EngineSim> {
  const sim = await startEngineSim({
    models: ['smollm2-135m'],
    maxModelLen: 2_048,
    serviceTimeMs: 0,
    ...options,
  });
  open.push(sim);
  return sim;
}

async function ask(sim: EngineSim, body: unknown): Promise<{ status: number; body: Json }> {
  const answer = await fetch(sim.url + CHAT, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: answer.status, body: parseJsonObject(await answer.text()) ?? {} };
}

const chat = (text: string, more: Json = {}) => ({
  ...{ model: 'smollm2-135m', messages: [{ role: 'user', content: text }], max_tokens: 8, temperature: 0 },
  ...more,
});

/** Keys at every depth; numbers in texts do not count. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (typeof value !== 'object' || value === null) return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shapeOf(inner)]));
}

const REQUESTS: readonly [name: string, body: unknown][] = [
  ['unknown model', chat('hello', { model: 'no-such-model' })],
  ['prompt longer than the context', chat('word '.repeat(20_000))],
  ['max_tokens longer than the context', chat('hello', { max_tokens: 2_049 })],
  ['temperature -1', chat('hello', { temperature: -1 })],
  ['temperature "hot"', chat('hello', { temperature: 'hot' })],
  ['broken JSON', '{"model": '],
];

describe('engine-sim', () => {
  test.each(REQUESTS)(
    'answers %s with the status, type, parameter and shape of a real vLLM',
    async (name, body) => {
      const real = answerNamed(name);
      const simulated = await ask(await start(), body);
      const { error } = parseJsonObject(real.body) ?? {};
      const { type, param, code } = error as Json;
      expect(simulated.status).toBe(real.status);
      expect(simulated.body).toMatchObject({ error: { type, param, code } });
      expect(shapeOf(simulated.body)).toEqual(shapeOf({ error }));
    },
  );

  test.each(REQUESTS.slice(0, 3))('answers %s in the words of a real vLLM', async (name, body) => {
    const { body: simulated } = await ask(await start(), body);
    expect(simulated).toEqual(parseJsonObject(answerNamed(name).body));
  });

  test('has every field of an answer that the runner reads, of the same type', async () => {
    const real = parseJsonObject(answerNamed('chat completion').body) ?? {};
    const { body } = await ask(await start(), chat('Say hello.', { include_metrics: true }));
    const shape = shapeOf(real) as Json;
    for (const [key, value] of Object.entries(shapeOf(body) as Json)) {
      expect({ [key]: shape[key] }).toMatchObject({ [key]: value });
    }
  });

  test('refuses over its queue cap in the words of a real vLLM', async () => {
    const sim = await start({ slots: 1, maxQueuedRequests: 1, serviceTimeMs: 200 });
    const answers = await Promise.all([1, 2, 3, 4].map((number) => ask(sim, chat(`story ${number}`))));
    const refused = answers.find(({ status }) => status === 503);
    expect(refused?.body).toEqual(parseJsonObject(answerNamed('queue cap').body));
  });

  test('has no metric that a real vLLM lacks, with the same labels', async () => {
    const sim = await start();
    await ask(sim, chat('hello'));
    const page = await (await fetch(`${sim.url}/metrics`)).text();
    const real = labelsByName(metricsPage);
    for (const [name, labels] of labelsByName(page)) {
      expect({ name, labels: [...(real.get(name) ?? [])] }).toEqual({
        name,
        labels: expect.arrayContaining([...labels]),
      });
    }
  });
});

function labelsByName(page: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const line of page.split('\n')) {
    const [, name, labels = ''] = /^([^#{\s]+)(?:\{(.*)\})? /.exec(line) ?? [];
    if (name === undefined) continue;
    const known = found.get(name) ?? new Set<string>();
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label);
    found.set(name, known);
  }
  return found;
}
