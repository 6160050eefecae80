import { request as httpRequest } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-sdk-0';
import OpenAI from 'openai';
import OpenAI6 from 'openai-6';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { broken, refused } from '../api-conformance.js';
import { good, openSyncWorld, type SyncWorld } from './sync-fixture.js';

let world: SyncWorld;
let url: string;

const CHAT = {
  id: 'chatcmpl-7',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'forty-two', tool_calls: [] },
      finish_reason: 'stop',
      logprobs: null,
    },
  ],
  usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
};
const MESSAGE = {
  id: 'msg_7',
  type: 'message',
  role: 'assistant',
  model: 'm',
  content: [
    { type: 'text', text: 'forty-two' },
    { type: 'tool_use', id: 'toolu_1', name: 'add', input: { a: 1, b: 2 } },
  ],
  stop_reason: 'tool_use',
  stop_sequence: null,
  usage: { input_tokens: 10, output_tokens: 5 },
};

beforeEach(async () => {
  world = await openSyncWorld(() => good(CHAT));
  url = world.url;
});

afterEach(() => world.close());

const messages = [{ role: 'user' as const, content: 'question' }];
const post: SyncWorld['post'] = (...request) => world.post(...request);
const jobOf: SyncWorld['jobOf'] = (id) => world.jobOf(id);
const jobIds = () => world.jobIds();
const finalStatusOf = async (id: string | undefined): Promise<unknown> => {
  await world.api.finalizer.tick();
  return (await jobOf(id ?? '')).status;
};

describe.each<[string, typeof OpenAI]>([
  ['openai 7', OpenAI],
  ['openai 6.49', OpenAI6 as never],
])('%s, unmodified', (_, Client) => {
  const client = () => new Client({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });

  it('gets the engine’s chat completion as it is, and the job behind it', async () => {
    const { data, response } = await client()
      .chat.completions.create({ model: 'm', messages, temperature: 0 })
      .withResponse();
    expect(data).toMatchObject(CHAT);
    const job = await jobOf(response.headers.get('x-batch-infer-job-id'));
    expect(job).toMatchObject({ priority: 'high', counts: { total: 1, succeeded: 1 } });
  });

  it('streams one chunk with everything, and the usage when it is asked for', async () => {
    const chunks: unknown[] = [];
    const stream = await client().chat.completions.create({
      model: 'm',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks).toMatchObject([
      {
        object: 'chat.completion.chunk',
        choices: [{ delta: { role: 'assistant', content: 'forty-two' }, finish_reason: 'stop' }],
        usage: null,
      },
      { choices: [], usage: { total_tokens: 15 } },
    ]);
    const final = await client().chat.completions.stream({ model: 'm', messages }).finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe('forty-two');
  });

  it('reads the engine’s own error with its status', async () => {
    world.say = () => refused(422);
    await expect(client().chat.completions.create({ model: 'm', messages })).rejects.toMatchObject({
      status: 422,
      code: 'bad',
      message: '422 refused by the engine',
    });
  });

  it('finds the job of its first attempt when it tries again by itself', async () => {
    let hold = true;
    world.say = () => (hold ? null : good(CHAT));
    const retrying = new Client({
      baseURL: `${url}/v1`,
      apiKey: 'none',
      maxRetries: 2,
      defaultHeaders: { 'x-batch-infer-wait-ms': '150' },
      fetch: async (...call: Parameters<typeof fetch>) => {
        const answer = await fetch(...call);
        hold = false;
        return answer;
      },
    });
    const { data } = await retrying.chat.completions.create({ model: 'm', messages }).withResponse();
    expect(data.choices[0]?.message.content).toBe('forty-two');
    expect(await jobIds()).toHaveLength(1);
  });
});

describe.each<[string, typeof Anthropic]>([
  ['@anthropic-ai/sdk 1', Anthropic],
  ['@anthropic-ai/sdk 0.137', Anthropic0 as never],
])('%s, unmodified', (_, Client) => {
  const client = () => new Client({ baseURL: url, apiKey: 'none', maxRetries: 0 });
  const request = { model: 'm', max_tokens: 16, messages };

  it('gets the engine’s message as it is', async () => {
    world.say = () => good(MESSAGE);
    expect(await client().messages.create(request)).toMatchObject(MESSAGE);
  });

  it('streams the events of a message', async () => {
    world.say = () => good(MESSAGE);
    const final = await client().messages.stream(request).finalMessage();
    expect(final).toMatchObject({
      content: MESSAGE.content,
      stop_reason: 'tool_use',
      usage: { input_tokens: 10, output_tokens: 5 },
    });
  });

  it('reads errors in its own words', async () => {
    world.say = () => refused(400);
    await expect(client().messages.create(request)).rejects.toMatchObject({
      status: 400,
      error: { type: 'error', error: { type: 'invalid_request_error', message: 'refused by the engine' } },
    });
    const wrong = client().messages.create({ ...request, messages: [] });
    await expect(wrong).rejects.toMatchObject({ status: 400, error: { type: 'error' } });
  });
});

describe('a plain request', () => {
  it.each([
    ['/v1/completions', { model: 'm', prompt: 'x' }],
    ['/v1/embeddings', { model: 'm', input: ['x', 'y'] }],
    ['/v1/responses', { model: 'm', input: 'x' }],
  ])('to %s reaches the engine with its body', async (path, body) => {
    const seen: unknown[] = [];
    world.say = (line) => {
      seen.push(line.body);
      return good({ object: 'answer' });
    };
    const answer = await post(path, { ...body, stream: false });
    expect([answer.status, answer.json()]).toEqual([200, { object: 'answer' }]);
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(seen).toEqual([body]);
    expect(await jobOf(answer.headers.get('x-batch-infer-job-id'))).toMatchObject({ endpoint: path });
  });

  it('is refused under the names that it used', async () => {
    expect((await post('/v1/chat/completions', { model: 'm' })).json()).toMatchObject({
      status: 400,
      param: 'messages',
      detail: 'messages is missing, and /v1/chat/completions needs it.',
    });
    expect((await post('/v1/embeddings', { input: 'x' })).json()).toMatchObject({
      status: 400,
      param: 'model',
    });
    expect((await post('/v1/embeddings', [])).status).toBe(400);
    expect(await jobIds()).toEqual([]);
  });

  it('is not streamed where a stream would be a lie', async () => {
    const streamed = await post('/v1/embeddings', { model: 'm', input: 'x', stream: true });
    expect(streamed.json()).toMatchObject({ status: 400, param: 'stream' });
    const background = await post('/v1/chat/completions', { model: 'm', messages, background: true });
    expect(background.json()).toMatchObject({ status: 400, param: 'background' });
  });

  it('whose time is over gets its job’s id, and its answer when it comes again', async () => {
    world.say = () => null;
    const headers = { 'idempotency-key': 'one', 'x-batch-infer-wait-ms': '50' };
    const body = { model: 'm', messages };
    const late = await post('/v1/chat/completions', body, headers);
    const id = late.headers.get('x-batch-infer-job-id');
    expect(late.json()).toMatchObject({ status: 504, code: 'answer_not_ready' });
    expect(late.json().detail).toContain(`job ${id}`);
    world.say = () => good(CHAT);
    const answer = await post('/v1/chat/completions', body, { 'idempotency-key': 'one' });
    expect([answer.status, answer.headers.get('x-batch-infer-job-id')]).toEqual([200, id]);
    expect([late, answer].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true']);
    const other = await post('/v1/chat/completions', { ...body, n: 2 }, headers);
    expect(other.json()).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
  });

  it('that the engine never answered fails, and runs again in the same job when it is sent again', async () => {
    world.say = () => broken();
    const headers = { 'idempotency-key': 'two' };
    const failed = await post('/v1/chat/completions', { model: 'm', messages }, headers);
    expect(failed.status).toBe(502);
    expect(failed.json().error).toMatchObject({ code: 'engine_unreachable', type: 'server_error' });
    await expect
      .poll(async () => (await jobOf(failed.headers.get('x-batch-infer-job-id'))).status)
      .toBe('failed');
    world.say = () => good(CHAT);
    const again = await post('/v1/chat/completions', { model: 'm', messages }, headers);
    expect(again.status).toBe(200);
    expect(await jobIds()).toEqual([failed.headers.get('x-batch-infer-job-id')]);
  });

  it('that the engine refused for good is not run again', async () => {
    let runs = 0;
    world.say = () => {
      runs += 1;
      return refused(400);
    };
    const headers = { 'idempotency-key': 'three' };
    for (let call = 0; call < 2; call += 1) {
      const answer = await post('/v1/chat/completions', { model: 'm', messages }, headers);
      expect([answer.status, answer.json().error.message]).toEqual([400, 'refused by the engine']);
    }
    expect(runs).toBe(1);
  });

  it('whose job is cancelled meanwhile says so', async () => {
    world.say = () => null;
    const waiting = post('/v1/chat/completions', { model: 'm', messages });
    await expect.poll(jobIds).toHaveLength(1);
    const [id] = await jobIds();
    await world.api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` });
    await expect.poll(() => finalStatusOf(id)).toBe('cancelled');
    expect((await waiting).json()).toMatchObject({ status: 502, code: 'item_not_run' });
  });
});

describe('a client that goes away', () => {
  const leave = async (headers: Record<string, string>): Promise<string> => {
    world.say = () => null;
    const call = httpRequest(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
    });
    call.on('error', () => undefined);
    call.end(JSON.stringify({ model: 'm', messages }));
    await expect.poll(jobIds).toHaveLength(1);
    call.destroy();
    const [id = ''] = await jobIds();
    return id;
  };

  it('leaves its job running', async () => {
    const id = await leave({});
    world.say = () => good(CHAT);
    await expect.poll(async () => (await jobOf(id)).status).toBe('succeeded');
  });

  it('takes it along when it said so', async () => {
    const id = await leave({ 'x-batch-infer-cancel-on-disconnect': 'true' });
    await expect.poll(() => finalStatusOf(id)).toBe('cancelled');
  });
});
