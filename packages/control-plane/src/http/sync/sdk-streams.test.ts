import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import Anthropic from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-sdk-0';
import OpenAI from 'openai';
import OpenAI6 from 'openai-6';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { EVENT_STREAM_HEADERS } from '../events/server-sent-events.js';
import { toProblem } from '../problem.js';
import type { ItemAnswer } from './item-answer.js';
import { lateStream } from './late-stream.js';
import { STREAMS } from './streams.js';
import { good, openSyncWorld, type SyncWorld } from './sync-fixture.js';

let world: SyncWorld;

beforeEach(async () => {
  world = await openSyncWorld(() => null);
});

afterEach(() => world.close());

const messages = [{ role: 'user' as const, content: 'question' }];
const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
const chat = (message: object, finish_reason = 'stop') => ({
  id: 'chatcmpl-7',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason, logprobs: null }],
  usage,
});
const CALLS = {
  content: null,
  tool_calls: [
    { id: 'call_1', type: 'function', function: { name: 'add', arguments: '{"a":1,"b":2}' } },
    { id: 'call_2', type: 'function', function: { name: 'add', arguments: '{"a":3,"b":4}' } },
  ],
};
const RESPONSE = {
  ...{ id: 'resp_7', object: 'response', created_at: 1, model: 'm', status: 'completed', error: null },
  output: [
    {
      ...{ id: 'rs_1', type: 'reasoning', status: 'completed' },
      summary: [{ type: 'summary_text', text: 'short' }],
      content: [{ type: 'reasoning_text', text: 'hm' }],
    },
    {
      ...{ id: 'msg_1', type: 'message', role: 'assistant', status: 'completed' },
      content: [
        { type: 'output_text', text: 'forty-two', annotations: [], logprobs: [] },
        { type: 'refusal', refusal: 'no more' },
      ],
    },
    {
      ...{ id: 'fc_1', type: 'function_call', status: 'completed', call_id: 'call_1' },
      ...{ name: 'add', arguments: '{"a":1}' },
    },
  ],
  usage: {
    ...{ input_tokens: 10, output_tokens: 5, total_tokens: 15 },
    input_tokens_details: { cached_tokens: 0 },
    output_tokens_details: { reasoning_tokens: 0 },
  },
};
const tool = {
  type: 'function',
  function: { name: 'add', parameters: { type: 'object' }, parse: JSON.parse, description: '' },
} as const;

/**
 * A fetch whose first try ends without an answer, since the server or the client stops waiting when the job is there;
 * the engine answers afterwards. It notes what the tries said of themselves.
 */
function retryFetch(answer: object, stopsWaiting: 'server' | 'client', jobs: number) {
  const retries: (string | null)[] = [];
  const firstTry = async (...[input, init]: Parameters<typeof fetch>): Promise<Response> => {
    const headers = new Headers(init?.headers);
    if (stopsWaiting === 'server') {
      headers.set('x-batch-infer-wait-ms', '150');
      return fetch(input, { ...init, headers });
    }
    const abort = new AbortController();
    const call = fetch(input, { ...init, signal: abort.signal });
    await expect.poll(() => world.jobIds()).toHaveLength(jobs);
    abort.abort();
    return call;
  };
  return {
    retries,
    fetch: async (...[input, init]: Parameters<typeof fetch>) => {
      retries.push(new Headers(init?.headers).get('x-stainless-retry-count'));
      if (retries.length > 1) return fetch(input, init);
      try {
        return await firstTry(input, init);
      } finally {
        world.say = () => good(answer);
      }
    },
  };
}

/** Serves a stream that begins before there is an answer, as a request that takes long gets one. */
async function serveLate(path: keyof typeof STREAMS, answer: Promise<ItemAnswer>): Promise<string> {
  const dialect = STREAMS[path] ?? expect.fail(`${path} is not streamed`);
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { ...EVENT_STREAM_HEADERS });
    const toErrorBody = (error: unknown) => toProblem(error, 'req_1').body;
    const stream = lateStream({ answer, stream: { dialect, includeUsage: false }, toErrorBody });
    void pipeline(stream, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const whole = (status: number, body: object): Promise<ItemAnswer> =>
  Promise.resolve({ status, body: Buffer.from(JSON.stringify(body)), headers: {} });

describe.each<[string, typeof OpenAI]>([
  ['openai 7', OpenAI],
  ['openai 6.49', OpenAI6 as never],
])('%s, unmodified', (_, Client) => {
  const client = (options: object = {}) =>
    new Client({ baseURL: `${world.url}/v1`, apiKey: 'none', maxRetries: 0, ...options });

  it('reads a streamed chat completion with its helper: text, end and usage', async () => {
    world.say = () => good(chat({ content: 'forty-two', refusal: null }));
    const { completions } = client().chat;
    const stream = completions.stream({ model: 'm', messages, stream_options: { include_usage: true } });
    const texts: string[] = [];
    stream.on('content', (delta) => texts.push(delta));
    const final = await stream.finalChatCompletion();
    expect(texts).toEqual(['forty-two']);
    expect(final.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'forty-two' } });
    expect(await stream.totalUsage()).toMatchObject(usage);
  });

  it('reads streamed tool calls, several choices and log probabilities', async () => {
    const logprobs = { content: [{ token: 'x', logprob: -1, bytes: null, top_logprobs: [] }], refusal: null };
    const called = chat(CALLS, 'tool_calls');
    const second = {
      index: 1,
      message: { role: 'assistant', content: 'x' },
      finish_reason: 'length',
      logprobs,
    };
    world.say = () => good({ ...called, choices: [...called.choices, second] });
    const final = await client()
      .chat.completions.stream({ model: 'm', messages, n: 2 })
      .finalChatCompletion();
    expect(final.choices[0]).toMatchObject({ finish_reason: 'tool_calls', message: CALLS });
    expect(final.choices[1]).toMatchObject({ finish_reason: 'length', message: { content: 'x' }, logprobs });
  });

  it('runs tools over streams', async () => {
    world.say = ({ body }) =>
      good(
        Array.isArray(body.messages) && body.messages.length > 1
          ? chat({ content: 'ten' })
          : chat(CALLS, 'tool_calls'),
      );
    const sums: number[] = [];
    const add = ({ a, b }: { a: number; b: number }) => {
      sums.push(a + b);
      return String(a + b);
    };
    const runner = client().chat.completions.runTools({
      model: 'm',
      messages,
      stream: true,
      tools: [{ ...tool, function: { ...tool.function, function: add } }],
    });
    expect(await runner.finalContent()).toBe('ten');
    expect(sums).toEqual([3, 7]);
  });

  it('reads a streamed text completion', async () => {
    const choices = [{ index: 0, text: 'forty-two', finish_reason: 'stop', logprobs: null }];
    world.say = () =>
      good({ id: 'cmpl-7', object: 'text_completion', created: 1, model: 'm', choices, usage });
    const asked = { model: 'm', prompt: 'question', stream: true } as const;
    const stream = await client().completions.create({ ...asked, stream_options: { include_usage: true } });
    const chunks: unknown[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks).toMatchObject([
      { object: 'text_completion', choices },
      { choices: [], usage },
    ]);
  });

  it('reads a streamed response with its helper: reasoning, text, refusal, calls, usage', async () => {
    world.say = () => good(RESPONSE);
    const stream = client().responses.stream({ model: 'm', input: 'question' });
    const seen: string[] = [];
    stream.on('response.output_text.delta', ({ delta }) => seen.push(delta));
    stream.on('response.function_call_arguments.delta', ({ delta }) => seen.push(delta));
    const types: string[] = [];
    for await (const { type, sequence_number } of stream) {
      expect(sequence_number).toBe(types.length);
      types.push(type);
    }
    expect(await stream.finalResponse()).toMatchObject({ ...RESPONSE, output_text: 'forty-two' });
    expect(seen).toEqual(['forty-two', '{"a":1}']);
    expect(types.slice(0, 2)).toEqual(['response.created', 'response.in_progress']);
    expect(types.at(-1)).toBe('response.completed');
  });

  it('is told when a streamed response is not complete', async () => {
    const cut = { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } };
    world.say = () => good({ ...RESPONSE, ...cut });
    const stream = client().responses.stream({ model: 'm', input: 'question' });
    const types: string[] = [];
    for await (const { type } of stream) types.push(type);
    expect(types.at(-1)).toBe('response.incomplete');
  });

  it('reads a response that comes late, and an error in its place', async () => {
    const late = async (answer: Promise<ItemAnswer>) => {
      const baseURL = `${await serveLate('/v1/responses', answer)}/v1`;
      return client({ baseURL }).responses.stream({ model: 'm', input: 'question' }).finalResponse();
    };
    expect((await late(whole(200, RESPONSE))).output_text).toBe('forty-two');
    const refused = late(whole(400, { error: { message: 'not like this', type: 'x', code: 'bad' } }));
    await expect(refused).rejects.toThrow('not like this');
  });

  it('reads a stream that begins before the answer is there, and an error in it', async () => {
    const late = async (answer: Promise<ItemAnswer>) => {
      const baseURL = `${await serveLate('/v1/chat/completions', answer)}/v1`;
      return client({ baseURL }).chat.completions.stream({ model: 'm', messages }).finalContent();
    };
    expect(await late(whole(200, chat({ content: 'forty-two' })))).toBe('forty-two');
    const refused = late(whole(400, { error: { message: 'not like this', type: 'x', code: 'bad' } }));
    await expect(refused).rejects.toMatchObject({
      code: 'bad',
      message: expect.stringMatching('not like this'),
    });
  });

  it('finds its job again by itself, streamed or not, whether we gave up waiting or it did', async () => {
    const answer = chat({ content: 'forty-two' });
    const stream = { model: 'm', messages, stream: true } as const;
    const ways: ['server' | 'client', (sdk: OpenAI) => Promise<unknown>][] = [
      ['server', (sdk) => sdk.chat.completions.create({ model: 'm', messages })],
      ['server', (sdk) => sdk.chat.completions.create(stream)],
      ['client', (sdk) => sdk.completions.create({ model: 'm', prompt: 'question' })],
    ];
    for (const [index, [stopsWaiting, call]] of ways.entries()) {
      world.say = () => null;
      const { fetch, retries } = retryFetch(answer, stopsWaiting, index + 1);
      await call(client({ fetch, maxRetries: 2 }));
      expect(retries.slice(0, 2)).toEqual(['0', '1']);
      expect(await world.jobIds()).toHaveLength(index + 1);
    }
  });
});

describe.each<[string, typeof Anthropic]>([
  ['@anthropic-ai/sdk 1', Anthropic],
  ['@anthropic-ai/sdk 0.137', Anthropic0 as never],
])('%s, unmodified', (_, Client) => {
  const client = (options: object = {}) =>
    new Client({ baseURL: world.url, apiKey: 'none', maxRetries: 0, ...options });
  const asked = { model: 'm', max_tokens: 16, messages };
  const MESSAGE = {
    id: 'msg_7',
    type: 'message',
    role: 'assistant',
    model: 'm',
    content: [
      { type: 'thinking', thinking: 'hm', signature: 'sig' },
      { type: 'text', text: 'forty-two', citations: null },
      { type: 'tool_use', id: 'toolu_1', name: 'add', input: { a: 1, b: { c: [2] } } },
      { type: 'tool_use', id: 'toolu_2', name: 'now', input: {} },
    ],
    stop_reason: 'tool_use',
    stop_sequence: null,
    usage: { input_tokens: 10, output_tokens: 5, cache_read_input_tokens: 4 },
  };

  it('reads a streamed message with its helper: thinking, text, tools and usage', async () => {
    world.say = () => good(MESSAGE);
    const seen: string[] = [];
    const stream = client()
      .messages.stream(asked)
      .on('thinking', (delta) => seen.push(delta))
      .on('text', (delta) => seen.push(delta))
      .on('inputJson', (delta) => seen.push(delta));
    expect(await stream.finalMessage()).toMatchObject(MESSAGE);
    expect(seen).toEqual(['hm', 'forty-two', '{"a":1,"b":{"c":[2]}}', '{}']);
    expect(await stream.finalText()).toBe('forty-two');
  });

  it('reads a stream that begins before the answer is there, and an error in it', async () => {
    const late = async (answer: Promise<ItemAnswer>) =>
      client({ baseURL: await serveLate('/v1/messages', answer) })
        .messages.stream(asked)
        .finalMessage();
    expect(await late(whole(200, MESSAGE))).toMatchObject(MESSAGE);
    const error = { type: 'invalid_request_error', message: 'not like this' };
    await expect(late(whole(400, { type: 'error', error }))).rejects.toThrow('not like this');
  });

  it('finds its job again by itself, streamed or not, whether we gave up waiting or it did', async () => {
    const ways: ['server' | 'client', (sdk: Anthropic) => Promise<unknown>][] = [
      ['server', (sdk) => sdk.messages.create(asked)],
      ['server', (sdk) => sdk.messages.stream({ ...asked, max_tokens: 17 }).finalMessage()],
      ['client', (sdk) => sdk.messages.create({ ...asked, max_tokens: 18 })],
    ];
    for (const [index, [stopsWaiting, call]] of ways.entries()) {
      world.say = () => null;
      const { fetch, retries } = retryFetch(MESSAGE, stopsWaiting, index + 1);
      await call(client({ fetch, maxRetries: 2 }));
      expect(retries.slice(0, 2)).toEqual(['0', '1']);
      expect(await world.jobIds()).toHaveLength(index + 1);
    }
  });
});
