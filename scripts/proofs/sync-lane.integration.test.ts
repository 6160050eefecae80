import Anthropic from '@anthropic-ai/sdk';
import type { EngineSim } from '@batch-infer/testkit';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MODEL, type Program, ProofStack, summary, until } from './harness.js';

/** Plain requests by official SDKs, through real processes. */

const AT_ONCE = 40;

const stack = new ProofStack();
let engine: EngineSim;
let server: Program;
let openai: OpenAI;
let anthropic: Anthropic;

beforeAll(async () => {
  engine = await stack.engine({ slots: 4, serviceTimeMs: 20 });
  server = await stack.serve();
  await stack.runner(engine);
  openai = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: 'unused', maxRetries: 8 });
  anthropic = new Anthropic({ baseURL: stack.url, apiKey: 'unused' });
});
afterAll(() => stack.close());

const ask = (content: string) =>
  openai.chat.completions.create({ model: MODEL, messages: [{ role: 'user', content }] }).withResponse();
const syncJobs = async () => {
  const query = 'metadata[x_batch_infer_lane]=sync&limit=100';
  return await stack.client.get<{ data: { id: string; status: string }[] }>(`/v1/jobs?${query}`);
};

describe('plain requests', () => {
  test('are answered by the engine, in the words of each SDK', async () => {
    const { data } = await ask('a question');
    expect(data.choices[0]?.message.content).toBeTruthy();
    const embedding = await openai.embeddings.create({ model: MODEL, input: ['a', 'b'] });
    expect(embedding.data).toHaveLength(2);
    expect((await openai.completions.create({ model: MODEL, prompt: 'x' })).choices[0]?.text).toBeTruthy();
    expect((await openai.responses.create({ model: MODEL, input: 'x' })).output_text).toBeTruthy();
    const message = await anthropic.messages
      .stream({ model: MODEL, max_tokens: 8, messages: [{ role: 'user', content: 'x' }] })
      .finalMessage();
    expect(message.content[0]).toMatchObject({ type: 'text' });
    let streamed = '';
    const stream = openai.chat.completions.stream({
      model: MODEL,
      messages: [{ role: 'user', content: 'x' }],
    });
    for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? '';
    expect(streamed).not.toBe('');
  });

  test('more than the engine holds wait in the queue: none is refused', async () => {
    const times = await Promise.all(
      Array.from({ length: AT_ONCE }, async (_, index) => {
        const started = performance.now();
        await ask(`one of many ${index}`);
        return performance.now() - started;
      }),
    );
    console.log(`${AT_ONCE} plain requests at once over 4 slots: ${summary(times)}`);
  });

  test('outlive the server: the SDK’s own retry finds the job and its answer', {
    timeout: 60_000,
  }, async () => {
    engine.setFaults([{ match: { bodyIncludes: 'held' }, action: { kind: 'hang' } }]);
    const before = (await syncJobs()).data.length;
    const waiting = ask('held while the server dies');
    await until('the engine has it', 10_000, async () => (engine.stats().inFlight > 0 ? true : null));
    await server.crash();
    engine.setFaults([]);
    server = await stack.serve();
    engine.killConnections();
    const { data, response } = await waiting;
    expect(data.choices[0]?.message.content).toBeTruthy();
    expect((await syncJobs()).data.length).toBe(before + 1);
    expect(response.headers.get('x-batch-infer-job-id')).toMatch(/^job_/);
  });
});
