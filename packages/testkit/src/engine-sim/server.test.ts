import { hash } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { echoText } from './generation-request.js';
import { startEngineSim } from './server.js';
import type { EngineSim, EngineSimOptions } from './types.js';

const open: EngineSim[] = [];

async function start(options: EngineSimOptions = {}): Promise<EngineSim> {
  const sim = await startEngineSim({ serviceTimeMs: 0, ...options });
  open.push(sim);
  return sim;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((sim) => sim.close()));
});

function chat(text: string, extra: object = {}) {
  return { model: 'sim-model', messages: [{ role: 'user', content: text }], ...extra };
}

async function post(sim: EngineSim, path: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(sim.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: JSON.parse(text) as unknown };
}

describe('answers of engine-sim', () => {
  it('echoes a chat, with usage, the caller’s request id and a reason to end', async () => {
    const sim = await start({ cachedTokens: 2 });
    const body = chat('What is the capital of France, and why is it not Lyon?');
    const answer = await post(sim, '/v1/chat/completions', body, { 'x-request-id': 'job1-item7' });
    const sha1 = hash('sha1', JSON.stringify(body.messages));
    const echo = `echo:${sha1}:What is the capital of France, and why i`;
    expect(echoText(body)).toBe(echo);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-request-id')).toBe('job1-item7');
    expect(answer.body).toMatchObject({
      id: 'chatcmpl-job1-item7',
      object: 'chat.completion',
      model: 'sim-model',
      choices: [{ index: 0, message: { role: 'assistant', content: echo }, finish_reason: 'stop' }],
      usage: {
        prompt_tokens: 14,
        completion_tokens: 16,
        total_tokens: 30,
        prompt_tokens_details: { cached_tokens: 2 },
      },
    });
  });

  it('cuts the answer at the request’s own limit, and pads the text when asked', async () => {
    const sim = await start({ outputTokens: 100, outputCharacters: 500 });
    const answer = await post(sim, '/v1/chat/completions', chat('x', { max_completion_tokens: 7 }));
    expect(answer.body).toMatchObject({
      choices: [{ finish_reason: 'length' }],
      usage: { completion_tokens: 7 },
    });
    const { choices } = answer.body as { choices: { message: { content: string } }[] };
    expect(choices[0]?.message.content).toHaveLength(500);
  });

  it('answers text completions, responses, messages and embeddings in their own shapes', async () => {
    const sim = await start();
    const prompt = { model: 'sim-model', prompt: 'Once upon a time' };
    expect((await post(sim, '/v1/completions', prompt)).body).toMatchObject({
      object: 'text_completion',
      choices: [{ text: echoText(prompt), finish_reason: 'stop' }],
    });
    const input = { model: 'sim-model', input: 'Once upon a time' };
    expect((await post(sim, '/v1/responses', input)).body).toMatchObject({
      object: 'response',
      status: 'completed',
      output: [{ type: 'message', content: [{ type: 'output_text', text: echoText(input) }] }],
      usage: { input_tokens: 4, output_tokens: 16, input_tokens_details: { cached_tokens: 0 } },
    });
    const message = chat('Once upon a time', { max_tokens: 20 });
    expect((await post(sim, '/v1/messages', message)).body).toMatchObject({
      type: 'message',
      content: [{ type: 'text', text: echoText(message) }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 4, output_tokens: 16, cache_read_input_tokens: 0 },
    });
    const embeddings = await post(sim, '/v1/embeddings', { model: 'sim-model', input: ['a', 'b'] });
    expect(embeddings.body).toMatchObject({
      object: 'list',
      data: [
        { index: 0, object: 'embedding' },
        { index: 1, object: 'embedding' },
      ],
    });
    const base64 = { model: 'sim-model', input: 'a', encoding_format: 'base64' };
    const { data } = (await post(sim, '/v1/embeddings', base64)).body as { data: { embedding: string }[] };
    expect(Buffer.from(data[0]?.embedding ?? '', 'base64')).toHaveLength(32);
  });

  it('streams a chat as events that end in [DONE]', async () => {
    const sim = await start();
    const response = await fetch(`${sim.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(chat('hello', { stream: true, stream_options: { include_usage: true } })),
    });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const events = (await response.text()).trim().split('\n\n');
    expect(events.at(-1)).toBe('data: [DONE]');
    expect(events.at(-2)).toContain('"usage":{"prompt_tokens":2');
    expect(events[0]).toContain(echoText(chat('hello')));
  });

  it('lists its models with their context window, and answers the small routes', async () => {
    const sim = await start({ models: ['m1', 'm2'], maxModelLen: 2048 });
    const get = async (path: string) => (await fetch(sim.url + path)).json();
    expect(await get('/v1/models')).toMatchObject({
      data: [{ id: 'm1', max_model_len: 2048 }, { id: 'm2' }],
    });
    expect(await get('/version')).toEqual({ version: '0.32.0' });
    expect(await get('/load')).toEqual({ server_load: 0 });
    expect((await fetch(`${sim.url}/health`)).status).toBe(200);
    sim.setHealth(503);
    expect((await fetch(`${sim.url}/health`)).status).toBe(503);
    expect((await fetch(`${sim.url}/nowhere`)).status).toBe(404);
    expect((await fetch(`${sim.url}/v1/chat/completions`)).status).toBe(405);
  });

  it('answers as a server that lacks an endpoint', async () => {
    const sim = await start({ missingEndpoints: ['/v1/messages'] });
    const answer = await fetch(`${sim.url}/v1/messages`, { method: 'POST', body: '{}' });
    expect([answer.status, await answer.json()]).toEqual([404, { detail: 'Not Found' }]);
  });
});

describe('errors of engine-sim', () => {
  const long = 'x'.repeat(4 * 200);
  it.each([
    [
      'an unknown model',
      chat('x', { model: 'other' }),
      404,
      { type: 'NotFoundError', param: 'model', code: 404 },
    ],
    [
      'a prompt longer than the window',
      chat(long),
      400,
      { type: 'BadRequestError', param: 'input_tokens', code: 400 },
    ],
    ['an output longer than the window', chat('x', { max_tokens: 200 }), 400, { param: 'max_tokens' }],
    [
      'an output of nothing',
      chat('x', { max_tokens: 0 }),
      400,
      { type: 'BadRequestError', param: 'max_tokens' },
    ],
    ['broken JSON', '{"model":', 400, { type: 'Bad Request', code: 400 }],
    [
      'a value of the wrong type',
      chat('x', { temperature: 'hot' }),
      400,
      { type: 'Bad Request', param: 'body.temperature' },
    ],
    [
      'a value out of range',
      chat('x', { temperature: -1 }),
      400,
      { type: 'BadRequestError', param: 'temperature' },
    ],
    ['missing messages', { model: 'sim-model' }, 400, { type: 'Bad Request', param: 'body.messages' }],
  ])('answers %s as vLLM does', async (_, body, status, error) => {
    const sim = await start({ maxModelLen: 128 });
    const answer = await post(sim, '/v1/chat/completions', body);
    expect(answer.status).toBe(status);
    expect(answer.body).toMatchObject({ error });
    expect(sim.stats().received).toBe(0);
  });

  it('wraps errors of /v1/messages in Anthropic’s envelope', async () => {
    const sim = await start();
    const answer = await post(sim, '/v1/messages', chat('x', { model: 'other' }));
    expect(answer.body).toMatchObject({ type: 'error', error: { type: 'NotFoundError' } });
  });

  it('asks for the API key under /v1 only', async () => {
    const sim = await start({ apiKey: 'secret' });
    expect((await post(sim, '/v1/chat/completions', chat('x'))).body).toEqual({ error: 'Unauthorized' });
    const allowed = await post(sim, '/v1/chat/completions', chat('x'), { authorization: 'Bearer secret' });
    expect(allowed.status).toBe(200);
    expect((await fetch(`${sim.url}/health`)).status).toBe(200);
  });

  it('answers 503 without Retry-After beyond the queue cap', async () => {
    const sim = await start({ slots: 1, serviceTimeMs: 3_600_000, maxQueuedRequests: 2 });
    const answers: Awaited<ReturnType<typeof post>>[] = [];
    for (let index = 0; index < 6; index += 1) {
      // Three are held for ever and are lost when the engine closes.
      post(sim, '/v1/chat/completions', chat(`item ${index}`)).then(
        (answer) => answers.push(answer),
        () => undefined,
      );
    }
    await vi.waitFor(() => expect(sim.stats()).toMatchObject({ running: 1, waiting: 2, failed: 3 }));
    await vi.waitFor(() => expect(answers.map(({ status }) => status)).toEqual([503, 503, 503]));
    const [refused] = answers;
    expect(refused?.body).toMatchObject({ error: { type: 'Service Unavailable', param: null, code: 503 } });
    expect(refused?.headers.has('retry-after')).toBe(false);
    expect(await metric(sim, 'vllm:admission_rejections_total')).toBe(3);
  });
});

describe('slots of engine-sim', () => {
  it('runs as many requests as it has slots and says when it is idle', async () => {
    const sim = await start({ slots: 3, serviceTimeMs: 1, jitter: 0 });
    expect(sim.stats()).toMatchObject({ lastRequestAt: null, idleSince: expect.any(Number) });
    const items = Array.from({ length: 9 }, (_, index) => `item ${index}`);
    await Promise.all(items.map((text) => post(sim, '/v1/chat/completions', chat(text))));
    expect(sim.stats()).toMatchObject({ received: 9, completed: 9, running: 0, waiting: 0, inFlight: 0 });
    expect(sim.stats()).toMatchObject({ lastRequestAt: expect.any(Number), idleSince: expect.any(Number) });
    expect(sim.stats().maxRunning).toBeLessThanOrEqual(3);
  });

  it('frees the place of a client that goes away', async () => {
    const sim = await start({ slots: 1, serviceTimeMs: 3_600_000 });
    const leaving = new AbortController();
    const left = [1, 2].map((index) =>
      fetch(`${sim.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(chat(`item ${index}`)),
        signal: leaving.signal,
      }),
    );
    await vi.waitFor(() => expect(sim.stats()).toMatchObject({ running: 1, waiting: 1, idleSince: null }));
    leaving.abort();
    const outcomes = await Promise.allSettled(left);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await vi.waitFor(() =>
      expect(sim.stats()).toMatchObject({ running: 0, waiting: 0, aborted: 2, inFlight: 0 }),
    );
  });

  it('logs each distinct body with how often it came and was completed', async () => {
    const sim = await start({
      faults: [{ match: { firstAttempts: 1 }, action: { kind: 'status', status: 500 } }],
    });
    for (const text of ['a', 'b', 'a']) await post(sim, '/v1/chat/completions', chat(text));
    expect(sim.requests()).toMatchObject([
      { marker: 'a', received: 2, completed: 1, bodyHash: hash('sha1', JSON.stringify(chat('a'))) },
      { marker: 'b', received: 1, completed: 0 },
    ]);
  });
});

describe('the step model behind HTTP', () => {
  it('batches, shares prefixes and says so in usage and metrics', async () => {
    const sim = await start({ mode: 'step', timeScale: 0.1, step: { maxNumSeqs: 8, numGpuBlocks: 512 } });
    const system = { role: 'system', content: 'You are a careful assistant. '.repeat(20) };
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        post(sim, '/v1/chat/completions', {
          model: 'sim-model',
          messages: [system, { role: 'user', content: `item ${index}` }],
          include_metrics: true,
        }),
      ),
    );
    const cached = answers.map(({ body }) => {
      const { usage } = body as { usage: { prompt_tokens_details: { cached_tokens: number } } };
      return usage.prompt_tokens_details.cached_tokens;
    });
    expect(cached.filter((tokens) => tokens >= 128)).toHaveLength(19);
    expect(answers[0]?.body).toMatchObject({ metrics: { queue_time_ms: expect.any(Number) } });
    expect(sim.stats()).toMatchObject({ completed: 20, maxRunning: 8, running: 0 });
    expect(await metric(sim, 'vllm:prefix_cache_hits_total')).toBe(
      cached.reduce((sum, tokens) => sum + tokens),
    );
    expect(await metric(sim, 'vllm:generation_tokens_total')).toBe(20 * 16);
  });

  it('aborts a sequence when its client goes away', async () => {
    const sim = await start({ mode: 'step', outputTokens: 30_000 });
    const leaving = new AbortController();
    const left = fetch(`${sim.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(chat('x')),
      signal: leaving.signal,
    });
    await vi.waitFor(() => expect(sim.stats().running).toBe(1));
    leaving.abort();
    await expect(left).rejects.toThrow();
    await vi.waitFor(() => expect(sim.stats()).toMatchObject({ running: 0, aborted: 1 }));
  });
});

describe('metrics of engine-sim', () => {
  it('have vLLM’s names and labels, with a _created gauge beside every counter', async () => {
    const sim = await start({ step: { numGpuBlocks: 364, blockSize: 128 } });
    await post(sim, '/v1/chat/completions', chat('x'));
    const text = await (await fetch(`${sim.url}/metrics`)).text();
    expect(text).toContain('vllm:num_requests_running{engine="0",model_name="sim-model"} 0.0');
    expect(text).toMatch(/vllm:cache_config_info\{.*block_size="128",.*num_gpu_blocks="364"\} 1\.0/);
    for (const name of [
      'num_preemptions',
      'prefix_cache_queries',
      'prefix_cache_hits',
      'generation_tokens',
    ]) {
      expect(text).toContain(`# TYPE vllm:${name}_total counter`);
      expect(text).toContain(`# TYPE vllm:${name}_created gauge`);
    }
    expect(text).toContain(
      'vllm:request_success_total{engine="0",model_name="sim-model",finished_reason="stop"} 1.0',
    );
  });

  it('can be stale, scaled or missing', async () => {
    const sim = await start();
    sim.setMetricsFault({ kind: 'stale' });
    await post(sim, '/v1/chat/completions', chat('x'));
    expect(await metric(sim, 'vllm:generation_tokens_total')).toBe(0);
    sim.setMetricsFault({ kind: 'none' });
    expect(await metric(sim, 'vllm:generation_tokens_total')).toBe(16);
    sim.setFaults([{ action: { kind: 'hang' } }]);
    sim.setMetricsFault({ kind: 'missing' });
    expect((await fetch(`${sim.url}/metrics`)).status).toBe(404);
  });
});

async function metric(sim: EngineSim, name: string): Promise<number> {
  const text = await (await fetch(`${sim.url}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name}{`));
  return Number(line?.split(' ').at(-1));
}
