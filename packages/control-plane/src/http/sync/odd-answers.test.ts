import { itemError } from '@batch-infer/contracts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Answer } from '../api-conformance.js';
import { good, openSyncWorld, type SyncWorld } from './sync-fixture.js';

const BODIES = {
  '/v1/chat/completions': { messages: [{ role: 'user', content: 'q' }] },
  '/v1/completions': { prompt: 'q' },
  '/v1/embeddings': { input: 'q' },
  '/v1/responses': { input: 'q' },
  '/v1/messages': { max_tokens: 9, messages: [{ role: 'user', content: 'q' }] },
} as const;
type Path = keyof typeof BODIES;
const PATHS = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/responses',
  '/v1/messages',
] as const;
const STREAMED = PATHS.filter((path) => path !== '/v1/embeddings');

let world: SyncWorld;

beforeEach(async () => {
  world = await openSyncWorld(() => null);
});

afterEach(() => world.close());

const ask = (path: Path, answer: Answer, more: object = {}) => {
  world.say = () => answer;
  return world.post(path, { model: 'm', ...BODIES[path], ...more });
};

/** The events of a stream, `[DONE]` left out. */
const eventsOf = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('data: ') && line !== 'data: [DONE]')
    .map((line) => JSON.parse(line.slice(6)));

/** What engines and what stands in front of them have been seen to answer, or may. */
const ODD: readonly (readonly [string, Record<string, unknown>])[] = [
  ['nothing at all', {}],
  [
    'nulls everywhere',
    { id: null, model: null, choices: null, output: null, content: null, data: null, usage: null },
  ],
  ['nulls in lists', { choices: [null], output: [null], content: [null], data: [null], status: 'completed' }],
  ['texts for lists', { choices: 'a', output: 'a', content: 'a', data: 'a', usage: 'a' }],
  [
    'reasons that nobody knows, and none',
    {
      choices: [
        { index: 0, message: { role: 'assistant', content: 'hi' }, text: 'hi', finish_reason: null },
        { index: 1, message: null, text: null, finish_reason: 'model_length' },
        { message: { content: [{ type: 'text', text: 'hi' }], tool_calls: [null, { function: null }] } },
      ],
      content: [{ type: 'text', text: 'hi' }, { type: 'tool_use' }, { type: 'unheard of', text: null }],
      stop_reason: 'unheard of',
      output: [
        { type: 'message', content: null },
        { type: 'message', content: [null, { type: 'x' }] },
      ],
      status: 'completed',
    },
  ],
  [
    'usage that is none',
    {
      choices: [],
      output: [],
      content: [],
      data: [],
      status: 'completed',
      usage: { prompt_tokens: -1, input_tokens: 1.5, output_tokens: 'x' },
    },
  ],
];

describe.each(ODD)('an odd 200 with %s', (_, body) => {
  it.each(PATHS)('is delivered by %s, all that it says', async (path) => {
    const answer = await ask(path, good(body));
    expect(answer.status).toBe(200);
    if (path !== '/v1/responses' || !Array.isArray(body.output)) {
      expect(answer.text).toBe(JSON.stringify(body));
      return;
    }
    const { output, ...rest } = body;
    expect(answer.json()).toMatchObject(rest);
    expect(answer.json()).toMatchObject({ tools: [], tool_choice: 'auto', parallel_tool_calls: true });
    expect(answer.json().output).toHaveLength(output.length);
  });

  it.each(STREAMED)('is a whole stream of %s', async (path) => {
    const { status, text, headers } = await ask(path, good(body), { stream: true });
    expect([status, headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    const events = eventsOf(text);
    expect(events.length).toBeGreaterThan(0);
    expect(text.endsWith('\n\n')).toBe(true);
    const last = events.at(-1);
    if (path === '/v1/messages') expect(last?.type).toBe('message_stop');
    else if (path === '/v1/responses') expect(last?.type).toBe('response.completed');
    else expect(text).toMatch(/data: \[DONE\]\n\n$/);
  });
});

const vllm = (code: unknown) => ({
  error: { message: 'the words of the engine', type: 'BadRequestError', param: null, code },
});
const refused = (status: number, body: unknown): Answer => ({
  status,
  body,
  error: itemError('invalid_request', 'the words of the engine'),
});

const REFUSALS: readonly (readonly [string, Answer, number])[] = [
  ['vLLM’s numeric code', refused(400, vllm(400)), 400],
  ['FastAPI’s detail', refused(422, { detail: [{ msg: 'x' }] }), 422],
  ['a bare text', refused(400, { error: 'the words of the engine' }), 400],
  [
    'an error without the object around it',
    refused(400, { object: 'error', message: 'the words of the engine', code: 400 }),
    400,
  ],
  ['an error page', refused(413, null), 413],
  [
    'odd types',
    refused(400, { error: { message: 'the words of the engine', type: 7, param: 7, code: { a: 1 } } }),
    400,
  ],
  [
    'Anthropic’s words',
    refused(400, { type: 'error', error: { type: 'BadRequestError', message: 'the words of the engine' } }),
    400,
  ],
  ['no answer in time', { status: 0, body: null, error: itemError('item_timeout') }, 504],
  [
    'an engine that cannot be reached',
    { status: 0, body: null, error: itemError('engine_unreachable') },
    502,
  ],
  [
    'the runner’s key refused',
    { status: 401, body: vllm(401), error: itemError('engine_unauthorized') },
    502,
  ],
];

describe.each(REFUSALS)('a refusal with %s', (name, answer, status) => {
  it.each(PATHS)('comes from %s with its status, in words that strict clients can read', async (path) => {
    for (const more of path === '/v1/embeddings' ? [{}] : [{}, { stream: true, temperature: 0 }]) {
      const told = await ask(path, answer, more);
      expect(told.status).toBe(status);
      const { error, type, request_id: requestId } = told.json();
      if (status < 500) expect(error.message).toBe('the words of the engine');
      if (path === '/v1/messages') {
        expect([type, typeof requestId]).toEqual(['error', 'string']);
        expect(error.type).toMatch(/^(?:invalid_request|request_too_large|timeout|api)/);
        continue;
      }
      expect([typeof error.message, typeof error.type]).toEqual(['string', 'string']);
      for (const text of [error.param, error.code])
        expect(text === null || typeof text === 'string').toBe(true);
      if (name.includes('numeric')) expect(error).toMatchObject({ type: 'BadRequestError', code: '400' });
    }
  });
});

describe('what no engine answered', () => {
  const readsAs = (
    path: Path,
    { error, type }: { error: Record<string, unknown>; type: string },
    code: string,
  ) => {
    if (path === '/v1/messages')
      expect([type, error.type]).toEqual([
        'error',
        code === 'answer_not_ready' ? 'timeout_error' : 'api_error',
      ]);
    else expect(error).toMatchObject({ code, param: null });
    expect([typeof error.type, typeof error.message]).toEqual(['string', 'string']);
  };

  it.each(PATHS)('in time is said by %s in its own words', async (path) => {
    const late = await world.post(path, { model: 'm', ...BODIES[path] }, { 'x-batch-infer-wait-ms': '1' });
    expect(late.status).toBe(504);
    readsAs(path, late.json(), 'answer_not_ready');
  });

  it.each(PATHS)('before it was cancelled is said by %s in its own words', async (path) => {
    const asked = world.post(path, { model: 'm', ...BODIES[path] });
    await expect.poll(async () => (await world.jobIds()).length).toBe(1);
    const [id] = await world.jobIds();
    await world.api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` });
    const cancelled = await asked;
    expect(cancelled.status).toBe(502);
    readsAs(path, cancelled.json(), 'item_not_run');
  });
});
