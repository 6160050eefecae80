import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  freePort,
  launchRunner,
  launchServe,
  MODEL,
  type Program,
  ProofStack,
  QUICK,
  until,
} from './harness.js';

/** Strings that nobody but their owner may ever see again. */
const canary = (name: string): string => `canary-${name}-${randomBytes(8).toString('hex')}`;
const KEY = canary('key');
const ENGINE_KEY = canary('engine-key');
const WRONG_KEY = canary('wrong-key');
const WEBHOOK_SECRET = `whsec_${randomBytes(24).toString('base64')}`;
const PROMPT = canary('prompt');

const ENDPOINT = '/v1/chat/completions';
const stack = new ProofStack();
let engine: EngineSim;
let server: Program;
let runner: Program;
let url: string;
let runnerMetrics: string;
/** Bodies and headers of every refusal. */
const refusals: string[] = [];

const chat = (text: string, more: object = {}) => ({
  model: MODEL,
  messages: [{ role: 'user', content: `${text} ${PROMPT}` }],
  ...more,
});

beforeAll(async () => {
  engine = await stack.engine({ slots: 8, serviceTimeMs: 5, apiKey: ENGINE_KEY });
  const keys = join(stack.folder, 'keys.json');
  const hash = createHash('sha256').update(KEY).digest('hex');
  writeFileSync(keys, JSON.stringify([{ id: 'all', hash, project: 'default', scopes: [] }]));
  const debug = { ...QUICK, BATCH_INFER_LOG_LEVEL: 'debug' };
  const places = ['--data', join(stack.folder, 'data'), '--port', '0', '--api-keys-file', keys];
  // The receiver may be called, so that deliveries and their failures are told of too.
  server = stack.adopt(await launchServe([...places, '--webhook-allow-hosts', '127.0.0.1:9'], debug));
  url = server.ready;
  const metricsPort = await freePort();
  runnerMetrics = `http://127.0.0.1:${metricsPort}/metrics`;
  runner = stack.adopt(
    await launchRunner(
      ['--server', url, '--engine-url', engine.url, '--model', MODEL, '--metrics-port', String(metricsPort)],
      { ...debug, BATCH_INFER_API_KEY: KEY, BATCH_INFER_ENGINE_API_KEY: ENGINE_KEY },
    ),
  );
});
afterAll(() => stack.close());

async function send(path: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}`, ...headers },
    body,
  });
}

async function refused(path: string, body: string, headers: Record<string, string> = {}): Promise<void> {
  const answer = await send(path, body, headers);
  const text = await answer.text();
  expect([path, answer.status >= 400 && answer.status < 500], text).toEqual([path, true]);
  refusals.push(`${text} ${JSON.stringify([...answer.headers])}`);
}

/** A job that ends, whatever its items do; its view. */
async function runJob(body: object): Promise<string> {
  const created = await send('/v1/jobs', JSON.stringify(body));
  expect(created.status, await created.clone().text()).toBe(202);
  const { id } = (await created.json()) as { id: string };
  const headers = { authorization: `Bearer ${KEY}` };
  return await until(`the end of ${id}`, 30_000, async () => {
    const view = await (await fetch(`${url}/v1/jobs/${id}`, { headers })).text();
    return (JSON.parse(view) as { finished_at: string | null }).finished_at === null ? null : view;
  });
}

describe('S5: keys, prompts and secrets are in no log, no metric, no error and no view of a job', () => {
  test('over a whole run at log level debug', { timeout: 120_000 }, async () => {
    const views: string[] = [];
    const items = Array.from({ length: 40 }, (_, index) => ({
      custom_id: `item-${index}`,
      body: chat(index % 4 === 0 ? 'please-fail' : 'please-answer'),
    }));
    const webhook = { url: 'http://127.0.0.1:9/hook', secret: WEBHOOK_SECRET };
    for (const action of [
      { kind: 'status', status: 500 },
      { kind: 'status', status: 400 },
      { kind: 'garbage' },
      { kind: 'reset' },
      { kind: 'cutBody' },
    ] as const) {
      engine.setFaults([{ match: { bodyIncludes: 'please-fail' }, action }]);
      views.push(await runJob({ endpoint: ENDPOINT, items, webhook, max_attempts: 2 }));
    }
    engine.setFaults([]);
    views.push(await runJob({ endpoint: ENDPOINT, input: chat('single') }));
    expect((await send(ENDPOINT, JSON.stringify(chat('plain')))).status).toBe(200);
    expect((await send('/v1/messages', JSON.stringify(chat('message', { max_tokens: 4 })))).status).toBe(200);

    await refused('/v1/jobs', `{"endpoint":"${ENDPOINT}","input":{"messages":"${PROMPT}`);
    await refused(
      '/v1/jobs',
      JSON.stringify({ endpoint: ENDPOINT, input: { messages: PROMPT, model: MODEL } }),
    );
    await refused('/v1/jobs', JSON.stringify({ endpoint: ENDPOINT, items: [PROMPT, { body: PROMPT }] }));
    await refused('/v1/jobs', JSON.stringify({ endpoint: ENDPOINT, input: chat('a', { stream: true }) }));
    await refused('/v1/jobs', `{"body":{"${PROMPT}`, { 'content-type': 'application/x-ndjson' });
    await refused('/v1/jobs', PROMPT, { 'content-type': 'text/plain' });
    await refused('/v1/messages/batches', `{"requests":[{"custom_id":"a","params":{"system":"${PROMPT}`);
    await refused('/v1/messages', JSON.stringify({ model: MODEL, messages: PROMPT }));
    await refused(ENDPOINT, JSON.stringify({ model: MODEL, messages: PROMPT }));
    const inside = { url: 'http://127.0.0.1:10/', secret: WEBHOOK_SECRET };
    await refused('/v1/jobs', JSON.stringify({ endpoint: ENDPOINT, input: chat('a'), webhook: inside }));
    await refused('/v1/webhook_endpoints', JSON.stringify({ url: 'no', secret: WEBHOOK_SECRET, key: KEY }));
    const wrong = { authorization: `Bearer ${WRONG_KEY}` };
    await refused('/v1/jobs', JSON.stringify({ endpoint: ENDPOINT, input: chat('a') }), wrong);
    await refused('/v1/jobs', JSON.stringify({ input: chat('a') }), {
      authorization: '',
      'x-api-key': WRONG_KEY,
    });

    const metrics = await (await fetch(`${url}/metrics`)).text();
    const ofRunner = await (await fetch(runnerMetrics)).text();
    await runner.stop();
    await server.stop();
    expect(server.talk()).toContain('"debug"');
    const seen = {
      'the log of the control plane': server.talk(),
      'the log of the runner': runner.talk(),
      'the metrics of the control plane': metrics,
      'the metrics of the runner': ofRunner,
      refusals: refusals.join('\n'),
      'views of jobs': views.join('\n'),
    };
    for (const [where, text] of Object.entries(seen)) {
      expect(text.length, where).toBeGreaterThan(100);
      for (const secret of [KEY, ENGINE_KEY, WRONG_KEY, WEBHOOK_SECRET, PROMPT]) {
        expect(text.includes(secret), `${secret} in ${where}`).toBe(false);
      }
    }
    console.log(
      `S5: ${Object.values(seen).reduce((sum, text) => sum + text.length, 0)} characters, 0 canaries`,
    );
  });
});
