import type { ServerResponse } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import { BatchInfer } from '@batch-infer/sdk';
import Anthropic0 from 'anthropic-sdk-0';
import OpenAI from 'openai';
import OpenAI6 from 'openai-6';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeItems, type Program, ProofStack, until } from './harness.js';
import { startWebhookReceiver, type WebhookCall, type WebhookReceiver } from './webhook-receiver.js';

/** R13: a receiver that flaps, and a server that is killed between the attempts. */
const JOBS = 24;

const stack = new ProofStack();
let server: Program;
let receiver: WebhookReceiver;

/** How a receiver loses an event: after it has taken it in, and before. */
const LOSSES: ((response: ServerResponse) => void)[] = [
  (response) => response.socket?.destroy(),
  (response) => response.writeHead(503).end(),
  (response) => response.writeHead(302, { location: '/elsewhere' }).end(),
  (response) => response.socket?.resetAndDestroy(),
];
const seen = new Map<string, number>();

const serve = () => stack.serve({ BATCH_INFER_WEBHOOK_ALLOW_HOSTS: '127.0.0.1' });

beforeAll(async () => {
  // The first attempt at each event is lost, each in the next way.
  receiver = await startWebhookReceiver((response, { event }) => {
    const attempt = (seen.get(event.id) ?? 0) + 1;
    seen.set(event.id, attempt);
    if (attempt === 1) LOSSES[seen.size % LOSSES.length]?.(response);
    else response.writeHead(204).end();
  });
  server = await serve();
  await stack.runner(await stack.engine({ serviceTimeMs: 5 }));
});

afterAll(async () => {
  await stack.close();
  await receiver.close();
});

/** Each of the libraries that receivers use; all of them throw when the signature is not right. */
const libraries: Record<string, (call: WebhookCall, secret: string) => unknown> = {
  standardwebhooks: ({ body, headers }, secret) => new Webhook(secret).verify(body, headers),
  'openai 7.x': ({ body, headers }, secret) =>
    new OpenAI({ apiKey: 'none' }).webhooks.unwrap(body, headers, secret),
  'openai 6.49': ({ body, headers }, secret) =>
    new OpenAI6({ apiKey: 'none' }).webhooks.unwrap(body, headers, secret),
  '@anthropic-ai/sdk 1.x': ({ body, headers }, key) =>
    new Anthropic({ apiKey: 'none' }).beta.webhooks.unwrap(body, { headers, key }),
  '@anthropic-ai/sdk 0.137': ({ body, headers }, key) =>
    new Anthropic0({ apiKey: 'none' }).beta.webhooks.unwrap(body, { headers, key }),
};

const title = `${JOBS} events to a flapping receiver: each at least once, under one id, verified by every library`;
test(title, { timeout: 240_000 }, async () => {
  const { webhooks } = new BatchInfer({ baseUrl: stack.url });
  const { secret } = await webhooks.create(`${receiver.url}/hook`, { eventTypes: ['batch.completed'] });
  const ids = await Promise.all(
    Array.from({ length: JOBS }, async (_, index) => {
      const { id } = await stack.client.createJob(`told-${index}`, makeItems(`told-${index}`, 1));
      return id;
    }),
  );
  const log = async () => (await webhooks.deliveries({ limit: 100 })).data;
  await until('the first attempt at each event has failed', 60_000, async () => {
    const failed = (await log()).filter(({ attempts }) => attempts > 0);
    return failed.length === JOBS ? failed : null;
  });
  await server.crash();
  server = await serve();
  // What was under way at the kill is taken up again after a minute.
  const delivered = await until('each event is delivered', 150_000, async () => {
    const deliveries = await log();
    return deliveries.every(({ status }) => status === 'delivered') ? deliveries : null;
  });
  expect(new Set(delivered.map(({ jobId }) => jobId))).toEqual(new Set(ids));

  const calls = receiver.calls.filter(({ path }) => path === '/hook');
  expect(receiver.calls, 'a redirect is not followed').toHaveLength(calls.length);
  for (const { jobId, eventId } of delivered) {
    const told = calls.filter(({ event }) => event.data.id === jobId);
    expect(told.length).toBeGreaterThanOrEqual(2);
    expect(new Set(told.map(({ headers }) => headers['webhook-id']))).toEqual(new Set([eventId]));
    expect(new Set(told.map(({ body }) => body)).size).toBe(1);
  }
  const forgedSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  for (const [library, unwrap] of Object.entries(libraries)) {
    for (const call of calls) expect(await unwrap(call, secret), library).toMatchObject(call.event);
    const [call] = calls;
    if (call === undefined) throw new Error('no calls');
    await expect((async () => await unwrap(call, forgedSecret))(), library).rejects.toThrow();
    await expect((async () => await unwrap({ ...call, body: `${call.body} ` }, secret))()).rejects.toThrow();
  }
  console.log(
    `${JOBS} events, ${calls.length} calls, one id each, verified by ${Object.keys(libraries).join(', ')}`,
  );
});
