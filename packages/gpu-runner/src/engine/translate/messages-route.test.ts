import { describe, expect, it } from 'vitest';
import { classify } from '../classify.js';
import type { EngineCall, EngineRequest } from '../client.js';
import type { EngineReply } from '../reply.js';
import { MessagesRoute } from './messages-route.js';

const answer = (status: number, body: unknown): EngineReply => ({
  kind: 'answer',
  status,
  retryAfterMs: null,
  body: Buffer.from(JSON.stringify(body)),
  ms: 5,
});
const chat = answer(200, {
  id: 'chatcmpl-1',
  model: 'm',
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'hi' } }],
  usage: { prompt_tokens: 4, completion_tokens: 1 },
});
const native = answer(200, {
  type: 'message',
  content: [{ type: 'text', text: 'hi' }],
  stop_reason: 'end_turn',
  usage: { input_tokens: 4, output_tokens: 1 },
});

let nowMs = 0;
const clock = { nowMs: () => nowMs };

class ScriptedClient {
  readonly sent: EngineRequest[] = [];
  readonly aborted: string[] = [];
  readonly replies: Record<string, EngineReply | Promise<EngineReply>>;

  constructor(replies: Record<string, EngineReply | Promise<EngineReply>>) {
    this.replies = replies;
  }

  get paths(): string[] {
    return this.sent.map(({ path }) => path);
  }

  post(request: EngineRequest): EngineCall {
    this.sent.push(request);
    const reply = this.replies[request.path];
    if (reply === undefined) throw new Error(`nothing is said of ${request.path}`);
    return { reply: Promise.resolve(reply), abort: () => this.aborted.push(request.path) };
  }
}

const request = (body: object = { messages: [{ role: 'user', content: 'x' }] }): EngineRequest => ({
  path: '/v1/messages',
  body: Buffer.from(JSON.stringify({ model: 'm', max_tokens: 9, ...body })),
  requestId: 'req_1',
  timeoutMs: 1_000,
});
const MESSAGES = '/v1/messages';
const CHAT = '/v1/chat/completions';

describe('the messages route of an engine', () => {
  it('is passed through where the engine serves it', async () => {
    const client = new ScriptedClient({ [MESSAGES]: native });
    const sent = request();
    expect(await new MessagesRoute(client, clock).post(sent).reply).toBe(native);
    expect(client.sent).toEqual([sent]);
  });

  it.each([
    ['vLLM before it had it', answer(404, { detail: 'Not Found' })],
    ['a server that knows the path otherwise', answer(405, { detail: 'Method Not Allowed' })],
    [
      'llama.cpp before it had it',
      answer(404, { error: { code: 404, message: 'File Not Found', type: 'not_found_error' } }),
    ],
  ])('is translated from the first refusal on: %s', async (_, refused) => {
    const client = new ScriptedClient({ [MESSAGES]: refused, [CHAT]: chat });
    const route = new MessagesRoute(client, clock);
    for (let turn = 0; turn < 2; turn += 1) {
      const reply = await route.post(request()).reply;
      expect(classify(MESSAGES, reply)).toMatchObject({ ok: true, usage: [4, 0, 1, 0] });
    }
    expect(client.paths).toEqual([MESSAGES, CHAT, CHAT]);
    expect(client.sent.every(({ requestId }) => requestId === 'req_1')).toBe(true);
    // The time of both attempts is one attempt's.
    expect(client.sent[1]?.timeoutMs).toBe(995);
  });

  it.each<[string, EngineReply]>([
    [
      'an unknown model',
      answer(404, { error: { message: 'The model `m` does not exist.', type: 'NotFoundError' } }),
    ],
    ['a bad request', answer(400, { error: { message: 'bad', type: 'BadRequestError' } })],
    ['an overload', answer(503, { error: { message: 'busy' } })],
    ['a broken connection', { kind: 'broken', broken: 'silent', ms: 1 }],
    ['a time-out', { kind: 'timeout', ms: 1_000 }],
  ])('is not taken for missing because of %s', async (_, reply) => {
    const client = new ScriptedClient({ [MESSAGES]: reply });
    const route = new MessagesRoute(client, clock);
    expect(await route.post(request()).reply).toBe(reply);
    await route.post(request()).reply;
    expect(client.paths).toEqual([MESSAGES, MESSAGES]);
  });

  it('is passed through again when the engine has it after all: a proxy refused in its place', async () => {
    const client = new ScriptedClient({ [MESSAGES]: answer(404, { detail: 'Not Found' }), [CHAT]: chat });
    const route = new MessagesRoute(client, clock);
    await route.post(request()).reply;
    client.replies[MESSAGES] = native;
    await route.post(request()).reply;
    nowMs += 60_000;
    expect(await route.post(request()).reply).toBe(native);
    expect(client.paths).toEqual([MESSAGES, CHAT, CHAT, MESSAGES]);
  });

  it('is not given up for a refusal just after it was served', async () => {
    const refused = answer(404, { detail: 'Not Found' });
    const client = new ScriptedClient({ [MESSAGES]: native, [CHAT]: chat });
    const route = new MessagesRoute(client, clock);
    await route.post(request()).reply;
    client.replies[MESSAGES] = refused;
    expect(await route.post(request()).reply).toBe(refused);
    nowMs += 30_000;
    expect(classify(MESSAGES, await route.post(request()).reply)).toMatchObject({ ok: true });
    expect(client.paths).toEqual([MESSAGES, MESSAGES, MESSAGES, CHAT]);
  });

  it('is asked for again at once where both routes are refused', async () => {
    const refused = answer(404, { detail: 'Not Found' });
    const client = new ScriptedClient({ [MESSAGES]: refused, [CHAT]: refused });
    const route = new MessagesRoute(client, clock);
    await route.post(request()).reply;
    await route.post(request()).reply;
    expect(client.paths).toEqual([MESSAGES, CHAT, MESSAGES, CHAT]);
  });

  it('hands errors of the translated request on as they are', async () => {
    const busy = answer(503, { error: { message: 'busy' } });
    const client = new ScriptedClient({ [MESSAGES]: answer(404, { detail: 'Not Found' }), [CHAT]: busy });
    const reply = await new MessagesRoute(client, clock).post(request()).reply;
    expect(classify(MESSAGES, reply)).toMatchObject({ ok: false, code: 'engine_overloaded' });
  });

  it('takes an answer that is no completion for no message', async () => {
    const client = new ScriptedClient({
      [MESSAGES]: answer(404, { detail: 'Not Found' }),
      [CHAT]: answer(200, { choices: [] }),
    });
    const reply = await new MessagesRoute(client, clock).post(request()).reply;
    expect(classify(MESSAGES, reply)).toMatchObject({ ok: false, code: 'invalid_response' });
  });

  it('refuses what cannot be translated for good, without sending it', async () => {
    const client = new ScriptedClient({ [MESSAGES]: answer(404, { detail: 'Not Found' }), [CHAT]: chat });
    const route = new MessagesRoute(client, clock);
    const image = { type: 'image', source: { type: 'url', url: 'https://a.example/secret.png' } };
    const reply = await route.post(request({ messages: [{ role: 'user', content: [image] }] })).reply;
    expect(classify(MESSAGES, reply)).toMatchObject({
      ok: false,
      code: 'invalid_request',
      message: 'messages.0.content.0.source: images must come as base64 data or as a data: URL.',
    });
    expect(client.paths).toEqual([MESSAGES]);
  });

  it('aborts whichever request is under way', async () => {
    const { promise, resolve } = Promise.withResolvers<EngineReply>();
    const client = new ScriptedClient({ [MESSAGES]: answer(404, { detail: 'Not Found' }), [CHAT]: promise });
    const call = new MessagesRoute(client, clock).post(request());
    call.abort();
    await expect.poll(() => client.paths).toEqual([MESSAGES, CHAT]);
    call.abort();
    expect(client.aborted).toEqual([MESSAGES, CHAT]);
    resolve(chat);
    await call.reply;
  });
});

describe('numbers on their way through a translation', () => {
  const odd = '[1234567890123456789,1.0,-0,1e400,0.10]';

  it('stay as they were written, in the request and in the answer', async () => {
    const args = JSON.stringify(`{"post_id": 1234567890123456789, "more": ${odd}}`);
    const completion = `{"choices":[{"finish_reason":"tool_calls","message":{"content":null,
      "tool_calls":[{"id":"t1","function":{"name":"f","arguments":${args}}}]}}],
      "usage":{"prompt_tokens":4.0,"completion_tokens":1}}`;
    const client = new ScriptedClient({
      [MESSAGES]: answer(404, { detail: 'Not Found' }),
      [CHAT]: { kind: 'answer', status: 200, retryAfterMs: null, ms: 5, body: Buffer.from(completion) },
    });
    const body = `{"model":"m","max_tokens":9,"seed":1234567890123456789,"temperature":1.0,
      "tools":[{"name":"f","input_schema":{"type":"object","maximum":1234567890123456789}}],
      "messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"n":${odd}}}]}]}`;
    const { reply } = new MessagesRoute(client, clock).post({ ...request(), body: Buffer.from(body) });
    const told = await reply;
    const sent = Buffer.from(client.sent[1]?.body ?? []).toString();
    expect(sent).toContain('"seed":1234567890123456789,"temperature":1.0');
    expect(sent).toContain('"maximum":1234567890123456789');
    expect(sent).toContain(JSON.stringify(`{"n":${odd}}`));
    const message = told.kind === 'answer' ? told.body.toString() : '';
    expect(message).toContain(`"input":{"post_id":1234567890123456789,"more":${odd}}`);
    expect(message).toContain('"input_tokens":4,');
  });
});
