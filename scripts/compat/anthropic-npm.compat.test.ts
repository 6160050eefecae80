import Anthropic1 from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-sdk-0';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODEL, ProofStack, until } from '../proofs/harness.js';
import { startWebhookReceiver, type WebhookReceiver } from '../proofs/webhook-receiver.js';
import { endWindow, HELD, POISON } from './python-programs.js';

/** The whole lives of message batches, seen through the npm package `@anthropic-ai/sdk`, unmodified. */

type Sdk = typeof Anthropic1;

const stack = new ProofStack();
let receiver: WebhookReceiver;

beforeAll(async () => {
  receiver = await startWebhookReceiver();
  await stack.serve({ BATCH_INFER_WEBHOOK_ALLOW_HOSTS: '127.0.0.1' });
  await stack.runner(await stack.engine({ slots: 64, serviceTimeMs: 5, faults: [POISON, HELD] }));
}, 60_000);

afterAll(async () => {
  await stack.close();
  await receiver.close();
});

const ids = (word: string, count: number) => Array.from({ length: count }, (_, index) => `${word}-${index}`);
const request = (customId: string) => ({
  custom_id: customId,
  params: {
    model: MODEL,
    max_tokens: 64,
    messages: [{ role: 'user' as const, content: `${customId} says so` }],
  },
});
const requests = (word: string, count: number) => ids(word, count).map(request);
const NONE = { processing: 0, succeeded: 0, errored: 0, canceled: 0, expired: 0 };

const versions = [
  { name: '@anthropic-ai/sdk 1.13', sdk: (): unknown => Anthropic1 },
  { name: '@anthropic-ai/sdk 0.137', sdk: (): unknown => Anthropic0 },
];

describe.each(versions)('$name, unmodified', ({ name, sdk }) => {
  const Client = sdk() as Sdk;
  let client: Anthropic1;
  let batches: Anthropic1['messages']['batches'];

  beforeAll(() => {
    client = new Client({ baseURL: stack.url, apiKey: 'none' });
    batches = client.messages.batches;
  });

  const total = new Map<string, number>();
  const ended = (id: string) =>
    until(`the end of ${id}`, 60_000, async () => {
      const now = await batches.retrieve(id);
      const counted = Object.values(now.request_counts).reduce((sum, count) => sum + count, 0);
      expect(counted, 'counts sum to the total at any time').toBe(total.get(id));
      return now.processing_status === 'ended' ? now : null;
    });
  const create = async (sent: ReturnType<typeof requests>) => {
    const batch = await batches.create({ requests: sent });
    total.set(batch.id, sent.length);
    return batch;
  };
  const midway = (id: string, succeeded: number) =>
    until(`${succeeded} answers of ${id}`, 60_000, async () =>
      (await batches.retrieve(id)).request_counts.succeeded === succeeded ? true : null,
    );
  const results = async (id: string) => {
    const read: Anthropic1.Messages.MessageBatchIndividualResponse[] = [];
    for await (const one of await batches.results(id)) read.push(one);
    return read;
  };
  const endsOf = async (id: string) =>
    (await results(id)).map(({ custom_id, result }) => [custom_id, result.type]);
  const all = (end: string, word: string, count: number) => ids(word, count).map((id) => [id, end]);
  const halfHeld = () => [...requests('good', 3), ...requests('held', 3)];

  it('ends with answers and errors, in the order of the requests', async () => {
    const { id, processing_status, results_url } = await create([
      ...requests('good', 30),
      ...requests('poison', 2),
    ]);
    expect([processing_status, results_url]).toEqual(['in_progress', null]);
    const batch = await ended(id);
    expect(batch).toMatchObject({
      request_counts: { ...NONE, succeeded: 30, errored: 2 },
      cancel_initiated_at: null,
      results_url: `${stack.url}/v1/messages/batches/${id}/results`,
    });
    const read = await results(id);
    expect(read.map(({ custom_id }) => custom_id)).toEqual([...ids('good', 30), ...ids('poison', 2)]);
    for (const { custom_id, result } of read.slice(0, 30)) {
      expect(result).toMatchObject({
        type: 'succeeded',
        message: { role: 'assistant', content: [{ text: expect.stringContaining(`${custom_id} says so`) }] },
      });
    }
    expect(read.at(-1)?.result).toMatchObject({
      type: 'errored',
      error: { type: 'error', error: { type: 'invalid_request_error', message: expect.any(String) } },
    });
  });

  it('ends when every request is errored', async () => {
    const { id } = await create(requests('poison', 3));
    expect((await ended(id)).request_counts).toEqual({ ...NONE, errored: 3 });
    expect(await endsOf(id)).toEqual(all('errored', 'poison', 3));
  });

  it('is canceled midway and keeps what is finished', async () => {
    const { id } = await create(halfHeld());
    await midway(id, 3);
    expect((await batches.cancel(id)).processing_status).toMatch(/^(canceling|ended)$/);
    const batch = await ended(id);
    expect(batch.request_counts).toEqual({ ...NONE, succeeded: 3, canceled: 3 });
    expect(batch.cancel_initiated_at).not.toBeNull();
    expect(await endsOf(id)).toEqual([...all('succeeded', 'good', 3), ...all('canceled', 'held', 3)]);
  });

  it('expires at the end of its window and keeps what is finished', async () => {
    const { id } = await create(halfHeld());
    await midway(id, 3);
    endWindow(stack, id.replace('msgbatch_', 'job_'));
    const batch = await ended(id);
    expect(batch.request_counts).toEqual({ ...NONE, succeeded: 3, expired: 3 });
    expect(batch.cancel_initiated_at).toBeNull();
    expect(await endsOf(id)).toEqual([...all('succeeded', 'good', 3), ...all('expired', 'held', 3)]);
  });

  it.each([
    ['a custom_id that is none', [request('fine'), request('with spaces')], 'requests.1.custom_id'],
    ['a custom_id twice', [...requests('twice', 2), request('twice-0')], 'requests.2.custom_id'],
    ['no requests', [], 'at least one request'],
  ])('is refused at create for %s, as the exception for bad requests', async (_, sent, message) => {
    const refusal = await batches.create({ requests: sent }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Client.BadRequestError);
    expect(refusal).toMatchObject({
      status: 400,
      requestID: expect.stringMatching(/^req_/),
      error: {
        type: 'error',
        error: { type: 'invalid_request_error', message: expect.stringContaining(message) },
      },
    });
  });

  it('lists batches and models by iteration, each once, forwards and backwards', async () => {
    const made: string[] = [];
    for (const one of requests('page', 5)) made.unshift((await create([one])).id);
    const forwards: string[] = [];
    for await (const { id } of batches.list({ limit: 2 })) forwards.push(id);
    expect(new Set(forwards).size).toBe(forwards.length);
    expect(forwards.filter((id) => made.includes(id))).toEqual(made);
    const backwards: string[] = [];
    for await (const { id } of batches.list({ before_id: made[4] ?? '', limit: 1 })) backwards.push(id);
    expect(backwards.filter((id) => made.includes(id))).toEqual(made.slice(0, 4).reverse());
    const models: string[] = [];
    for await (const { id } of client.models.list()) models.push(id);
    expect(models).toEqual([MODEL]);
  });

  it('is deleted with its results once it has ended, and not before', async () => {
    const { id } = await create(halfHeld());
    await midway(id, 3);
    await expect(batches.delete(id)).rejects.toBeInstanceOf(Client.ConflictError);
    await expect(batches.results(id)).rejects.toThrow('in_progress');
    await batches.cancel(id);
    await ended(id);
    expect(await batches.delete(id)).toEqual({ id, type: 'message_batch_deleted' });
    await expect(batches.retrieve(id)).rejects.toBeInstanceOf(Client.NotFoundError);
    await expect(batches.results(id)).rejects.toBeInstanceOf(Client.NotFoundError);
  });

  it('gets plain answers, whole and streamed', async () => {
    const asked = request('plain').params;
    const whole = await client.messages.create(asked);
    expect(whole.content[0]).toMatchObject({ type: 'text', text: expect.stringContaining('plain says so') });
    const streamed = await client.messages.stream(asked).finalMessage();
    expect(streamed.content).toEqual(whole.content);
  });

  it('is told of the end by a webhook that it can verify', async () => {
    const path = `/${name.replaceAll(/\W+/g, '-')}`;
    const body = { name, url: `${receiver.url}${path}`, event_types: ['batch.completed'] };
    const made = await stack.client.post('/v1/webhook_endpoints', body);
    const { signing_secret: key } = (await made.json()) as { signing_secret: string };
    const { id } = await create([request('told')]);
    const call = await until(`the call about ${id}`, 30_000, () => {
      const calls = receiver.calls.filter((one) => one.path === path);
      return calls.find(({ event }) => event.data.id === id) ?? null;
    });
    const { webhooks } = client.beta;
    expect(webhooks.unwrap(call.body, { headers: call.headers, key })).toMatchObject({
      type: 'batch.completed',
      data: { id },
    });
    expect(() => webhooks.unwrap(`${call.body} `, { headers: call.headers, key })).toThrow();
  });
});
