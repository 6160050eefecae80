import { createHash } from 'node:crypto';
import Anthropic from '@anthropic-ai/sdk';
import type { EngineSim } from '@batch-infer/testkit';
import { echoText, splitLines } from '@batch-infer/testkit';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MODEL, ProofStack, until } from './harness.js';

/** Every endpoint and every dialect on real processes, with engines that serve messages and engines that do not. */
const stack = new ProofStack();
const OTHER_MODEL = 'chat-only';
let engine: EngineSim;
let chatOnly: EngineSim;
let openai: OpenAI;
let anthropic: Anthropic;

beforeAll(async () => {
  engine = await stack.engine({ serviceTimeMs: 5, cachedTokens: 1 });
  chatOnly = await stack.engine({
    models: [OTHER_MODEL],
    serviceTimeMs: 5,
    cachedTokens: 1,
    missingEndpoints: ['/v1/messages'],
  });
  // The URL of an image passes the server: what cannot be translated is the runner's to refuse.
  await stack.serve({ BATCH_INFER_MEDIA_HOSTS: 'a.example' });
  await stack.runner(engine);
  await stack.runner(chatOnly, ['--model', OTHER_MODEL]);
  openai = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: 'unused' });
  anthropic = new Anthropic({ baseURL: stack.url, apiKey: 'unused' });
});
afterAll(() => stack.close());

type Body = Record<string, unknown>;
const BODIES: Readonly<Record<string, Body>> = {
  '/v1/chat/completions': { messages: [{ role: 'user', content: 'chat it' }] },
  '/v1/completions': { prompt: 'complete it' },
  '/v1/embeddings': { input: ['embed', 'it'] },
  '/v1/responses': { input: 'respond to it' },
  '/v1/messages': { max_tokens: 50, messages: [{ role: 'user', content: 'message it' }] },
};
/** Where each endpoint has its text. */
const textOf = (url: string, body: Body): unknown => {
  const at = (path: string): unknown =>
    path.split('.').reduce<unknown>((value, key) => (value as Body | undefined)?.[key], body);
  if (url === '/v1/chat/completions') return at('choices.0.message.content');
  if (url === '/v1/completions') return at('choices.0.text');
  if (url === '/v1/responses') return at('output.0.content.0.text');
  return at('content.0.text');
};

async function uploaded(text: string): Promise<string> {
  const upload = await openai.uploads.create({
    bytes: Buffer.byteLength(text),
    filename: 'in.jsonl',
    mime_type: 'text/jsonl',
    purpose: 'batch',
  });
  const middle = Math.floor(text.length / 2);
  const parts = await Promise.all(
    [text.slice(0, middle), text.slice(middle)].map((data) =>
      openai.uploads.parts.create(upload.id, { data: new File([data], 'part') }),
    ),
  );
  const { file } = await openai.uploads.complete(upload.id, {
    part_ids: parts.map(({ id }) => id),
    md5: createHash('md5').update(text).digest('hex'),
  });
  return file?.id ?? '';
}

const endedBatch = (id: string) =>
  until(`${id} has ended`, 30_000, async () => {
    const batch = await openai.batches.retrieve(id);
    return batch.status === 'completed' ? batch : null;
  });
const outputOf = async (fileId: string | null | undefined) =>
  splitLines(await (await openai.files.content(fileId ?? '')).text()).map(
    (line) => JSON.parse(line) as { custom_id: string; response: { body: Body } },
  );

describe('OpenAI batches', () => {
  test.each(Object.keys(BODIES))('over %s, uploaded in parts', async (url) => {
    const lines = Array.from({ length: 5 }, (_, index) => ({
      custom_id: `q-${index}`,
      method: 'POST',
      url,
      body: { model: MODEL, ...BODIES[url] },
    }));
    const { id } = await openai.batches.create({
      input_file_id: await uploaded(lines.map((line) => `${JSON.stringify(line)}\n`).join('')),
      endpoint: url as '/v1/responses',
      completion_window: '24h',
    });
    const batch = await endedBatch(id);
    expect(batch.request_counts).toEqual({ total: 5, completed: 5, failed: 0 });
    expect(batch.usage?.input_tokens).toBeGreaterThan(0);
    const usage = batch.usage;
    expect(usage?.total_tokens).toBe((usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0));
    if (url !== '/v1/embeddings') {
      expect(usage?.output_tokens).toBeGreaterThan(0);
      expect(usage?.input_tokens_details.cached_tokens).toBe(5);
    }
    const output = await outputOf(batch.output_file_id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(lines.map(({ custom_id }) => custom_id));
    for (const { response } of output) {
      if (url === '/v1/embeddings') expect(response.body.data).toHaveLength(2);
      else expect(textOf(url, response.body)).toBe(echoText(BODIES[url] ?? {}));
    }
  });
});

test('one native job mixes endpoints and models', async () => {
  const items = Object.entries(BODIES).flatMap(([url, body]) =>
    [MODEL, OTHER_MODEL].map((model) => ({
      custom_id: `${url}@${model}`,
      url,
      body: { model, ...body },
    })),
  );
  const created = await stack.client.post('/v1/jobs', { items });
  expect(created.status).toBe(202);
  const { id } = (await created.json()) as { id: string };
  const job = await until('the job has ended', 30_000, async () => {
    const now = (await (await fetch(`${stack.url}/v1/jobs/${id}`)).json()) as {
      status: string;
      counts: Record<string, number>;
      usage: Record<string, number>;
    };
    return now.status === 'succeeded' || now.status === 'failed' ? now : null;
  });
  expect(job).toMatchObject({ status: 'succeeded', counts: { total: 10, succeeded: 10 } });
  const results = splitLines(await (await fetch(`${stack.url}/v1/jobs/${id}/results`)).text()).map(
    (line) => JSON.parse(line) as { custom_id: string; response: Body; usage: Record<string, number> },
  );
  expect(results.map(({ custom_id }) => custom_id)).toEqual(items.map(({ custom_id }) => custom_id));
  results.forEach(({ response, usage }, index) => {
    const item = items[index];
    expect(usage.input_tokens).toBeGreaterThan(0);
    expect(response.model).toBe(item?.body.model);
    if (item !== undefined && item.url !== '/v1/embeddings')
      expect(textOf(item.url, response)).toBe(echoText(BODIES[item.url] ?? {}));
  });
  const sum = results.reduce((total, { usage }) => total + (usage.output_tokens ?? 0), 0);
  expect(job.usage.output_tokens).toBe(sum);
});

describe('Anthropic message batches', () => {
  const request = (customId: string, model: string, more: object = {}) => ({
    custom_id: customId,
    params: {
      model,
      max_tokens: 50,
      system: 'be brief',
      messages: [{ role: 'user' as const, content: `${customId} says so` }],
      ...more,
    },
  });

  test.each([
    ['as they are', MODEL],
    ['as chat completions where the engine has nothing else', OTHER_MODEL],
  ])('are run %s', async (_, model) => {
    const image = {
      role: 'user' as const,
      content: [{ type: 'image' as const, source: { type: 'url' as const, url: 'https://a.example/x.png' } }],
    };
    const requests = [
      ...Array.from({ length: 5 }, (__, index) => request(`a-${index}`, model)),
      request('cut', model, { max_tokens: 2 }),
      request('hot', model, { temperature: -1 }),
      ...(model === OTHER_MODEL ? [request('image', model, { messages: [image] })] : []),
    ];
    const failed = model === OTHER_MODEL ? 2 : 1;
    const { id } = await anthropic.messages.batches.create({ requests });
    const batch = await until('the batch has ended', 30_000, async () => {
      const now = await anthropic.messages.batches.retrieve(id);
      const { processing, ...ended } = now.request_counts;
      const sum = Object.values(ended).reduce((total, count) => total + count, processing);
      expect(sum).toBe(requests.length);
      return now.processing_status === 'ended' ? now : null;
    });
    expect(batch.request_counts).toEqual({
      processing: 0,
      succeeded: 6,
      errored: failed,
      canceled: 0,
      expired: 0,
    });
    const results = new Map<string, Anthropic.Messages.MessageBatchResult>();
    for await (const { custom_id, result } of await anthropic.messages.batches.results(id))
      results.set(custom_id, result);
    expect([...results.keys()]).toEqual(requests.map(({ custom_id }) => custom_id));
    const first = results.get('a-0');
    expect(first).toMatchObject({
      type: 'succeeded',
      message: {
        type: 'message',
        role: 'assistant',
        model,
        stop_reason: 'end_turn',
        content: [{ type: 'text', text: expect.stringContaining('a-0 says so') }],
      },
    });
    if (first?.type !== 'succeeded') throw new Error('no message');
    expect(first.message.id).toMatch(/^msg_/);
    expect(first.message.usage.input_tokens).toBeGreaterThan(0);
    expect(first.message.usage.cache_read_input_tokens).toBe(1);
    expect(results.get('cut')).toMatchObject({ message: { stop_reason: 'max_tokens' } });
    expect(results.get('hot')).toMatchObject({
      type: 'errored',
      error: {
        type: 'error',
        error: { type: 'invalid_request_error', message: expect.stringContaining('temperature') },
      },
    });
    if (model === OTHER_MODEL)
      expect(results.get('image')).toMatchObject({
        type: 'errored',
        error: { error: { message: expect.stringContaining('data: URL') } },
      });
    await anthropic.messages.batches.delete(id);
    await expect(anthropic.messages.batches.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  test('are cancelled: the engine sees nothing new, and every request is accounted for', async () => {
    chatOnly.setFaults([{ action: { kind: 'slow', factor: 2_000 } }]);
    const requests = Array.from({ length: 300 }, (_, index) => request(`c-${index}`, OTHER_MODEL));
    const { id } = await anthropic.messages.batches.create({ requests });
    await until('the engine is at work', 30_000, () => (chatOnly.stats().inFlight > 0 ? true : null));
    expect((await anthropic.messages.batches.cancel(id)).processing_status).toMatch(/^(canceling|ended)$/);
    const batch = await until('the batch has ended', 30_000, async () => {
      const now = await anthropic.messages.batches.retrieve(id);
      return now.processing_status === 'ended' ? now : null;
    });
    chatOnly.setFaults([]);
    const { succeeded, canceled } = batch.request_counts;
    expect(succeeded + canceled).toBe(300);
    let lines = 0;
    for await (const _ of await anthropic.messages.batches.results(id)) lines += 1;
    expect(lines).toBe(300);
    await until('the engine is idle', 5_000, () => (chatOnly.stats().inFlight === 0 ? true : null));
  });
});
