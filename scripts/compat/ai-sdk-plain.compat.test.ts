import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODEL, ProofStack } from '../proofs/harness.js';
import { npmClients } from './install.js';

/**
 * Plain calls of three generations of the AI SDK, unmodified, whose readers check every field: at an engine that says as
 * little as llama.cpp does, and numbers where OpenAI's API has texts.
 */

/** What of the AI SDK is used here; its types come with the installed package, not with this repository. */
interface AiSdk {
  generateText(options: object): Promise<{
    text: string;
    finishReason: string;
    usage: { totalTokens: number };
    toolCalls: { toolName: string; input: unknown }[];
  }>;
  streamText(options: object): {
    text: PromiseLike<string>;
    toolCalls: PromiseLike<{ toolName: string; input: unknown }[]>;
  };
  jsonSchema(schema: object): object;
  APICallError: { isInstance(error: unknown): boolean };
}
type Provider = ((model: string) => object) & { chat(model: string): object };
type ProviderFactory = (settings: { baseURL: string; apiKey: string }) => Provider;

const stack = new ProofStack();
let engine: Server;

/** A call whose arguments are cut, as `max_tokens` leaves them. */
const CUT = '{"city":"Paris","days":[1,2';
const ARGUMENTS = '{"city":"Paris"}';
const json = (response: ServerResponse, status: number, body: object): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

function answerChat(asked: string): object {
  const call = (given: string) => [
    { id: 'c1', type: 'function', function: { name: 'weather', arguments: given } },
  ];
  const message = asked.includes('call a tool')
    ? { content: null, tool_calls: call(asked.includes('cut') ? CUT : ARGUMENTS) }
    : { content: 'forty-two', reasoning_content: 'hm' };
  return {
    choices: [
      {
        index: 0,
        finish_reason: asked.includes('cut') ? 'length' : 'tool_calls' in message ? 'tool_calls' : 'stop',
        message: { role: 'assistant', ...message },
      },
    ],
    ...{ created: 1, model: MODEL, object: 'chat.completion', id: 'chatcmpl-1' },
    usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 },
  };
}

function answerResponse(asked: string): object {
  const message = {
    ...{ type: 'message', role: 'assistant', status: 'completed', id: 'msg_1' },
    content: [{ type: 'output_text', text: 'forty-two' }],
  };
  const call = {
    type: 'function_call',
    call_id: 'fc_1',
    name: 'weather',
    arguments: ARGUMENTS,
    status: 'completed',
  };
  return {
    ...{
      object: 'response',
      id: 'resp_1',
      created_at: 1,
      completed_at: 1,
      model: MODEL,
      status: 'completed',
    },
    output: [{ type: 'reasoning', id: 'rs_1', summary: [] }, asked.includes('call a tool') ? call : message],
    usage: { input_tokens: 4, output_tokens: 2, total_tokens: 6 },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const asked = await text(request);
  if (request.url === '/health') return json(response, 200, { status: 'ok' });
  if (request.url === '/v1/models') return json(response, 200, { data: [{ id: MODEL, object: 'model' }] });
  if (asked.includes('refuse')) {
    return json(response, 400, {
      error: { code: 400, message: 'not this one', type: 'invalid_request_error' },
    });
  }
  if (request.url === '/v1/chat/completions') return json(response, 200, answerChat(asked));
  if (request.url === '/v1/responses') return json(response, 200, answerResponse(asked));
  return json(response, 404, { error: { code: 404, message: 'File Not Found', type: 'not_found_error' } });
}

beforeAll(async () => {
  engine = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => engine.listen(0, '127.0.0.1', resolve));
  await stack.serve();
  const { port } = engine.address() as AddressInfo;
  await stack.runner({ url: `http://127.0.0.1:${port}` });
}, 60_000);

afterAll(async () => {
  await stack.close();
  engine.close();
});

describe.each([
  ['5', 'ai-sdk-5'],
  ['6', 'ai-sdk-6'],
  ['7', undefined],
])('ai %s', (_, folder) => {
  let ai: AiSdk;
  const models: { name: string; model: object }[] = [];

  beforeAll(async () => {
    const load = await npmClients(folder);
    ai = await load<AiSdk>('ai');
    const settings = { baseURL: `${stack.url}/v1`, apiKey: 'none' };
    const { createOpenAI } = await load<{ createOpenAI: ProviderFactory }>('@ai-sdk/openai');
    const { createAnthropic } = await load<{ createAnthropic: ProviderFactory }>('@ai-sdk/anthropic');
    models.push(
      { name: 'responses', model: createOpenAI(settings)(MODEL) },
      { name: 'chat', model: createOpenAI(settings).chat(MODEL) },
      { name: 'messages', model: createAnthropic(settings)(MODEL) },
    );
  }, 300_000);

  const ask = (model: object, prompt: string) => {
    const weather = {
      inputSchema: ai.jsonSchema({ type: 'object', properties: { city: { type: 'string' } } }),
    };
    return {
      model,
      prompt,
      maxOutputTokens: 64,
      maxRetries: 0,
      tools: { weather },
      onError: () => undefined,
    };
  };

  it('reads texts and tool calls, whole and streamed', async () => {
    for (const { name, model } of models) {
      const { text: whole, usage } = await ai.generateText(ask(model, `say it ${name}`));
      expect([name, whole, usage.totalTokens]).toEqual([name, 'forty-two', 6]);
      expect([name, await ai.streamText(ask(model, `stream it ${name}`)).text]).toEqual([name, 'forty-two']);
      const calls = [{ toolName: 'weather', input: { city: 'Paris' } }];
      expect((await ai.generateText(ask(model, `call a tool ${name}`))).toolCalls).toMatchObject(calls);
      expect(await ai.streamText(ask(model, `call a tool, streamed ${name}`)).toolCalls).toMatchObject(calls);
    }
  });

  it('reads a message whose tool call was cut', async () => {
    const { model } = models.find(({ name }) => name === 'messages') ?? expect.fail('no messages');
    const read = await ai.generateText(ask(model, 'call a tool, cut'));
    expect(read).toMatchObject({
      finishReason: 'length',
      toolCalls: [{ input: { city: 'Paris', days: [1] } }],
    });
  });

  it('reads a refusal as the error for calls, in the words of the engine', async () => {
    for (const { name, model } of models) {
      const refusal = await ai.generateText(ask(model, `refuse ${name}`)).catch((error: unknown) => error);
      expect(ai.APICallError.isInstance(refusal)).toBe(true);
      expect(refusal).toMatchObject({ statusCode: 400, isRetryable: false, message: 'not this one' });
    }
  });
});
