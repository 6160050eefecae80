import { createServer, type Server } from 'node:http';
import OpenAI from 'openai';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebhookDeliverer } from '../../webhooks/webhook-deliverer.js';
import { openTestApi, refused, type TestApi } from '../api-conformance.js';

let api: TestApi;
let client: OpenAI;
let receiver: Server;
let hook: string;
let calls: { headers: Record<string, string>; body: string }[];
let status: number;

beforeEach(async () => {
  calls = [];
  status = 200;
  receiver = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    calls.push({ headers: request.headers as Record<string, string>, body });
    response.writeHead(status).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const address = receiver.address();
  const host = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  hook = `http://${host}/hook`;
  api = await openTestApi({ BATCH_INFER_WEBHOOK_ALLOW_HOSTS: host });
  await api.saveRunner(['m']);
  client = new OpenAI({ baseURL: `${await api.listen()}/v1`, apiKey: 'none', maxRetries: 0 });
});

afterEach(async () => {
  receiver.closeAllConnections();
  receiver.close();
  await api.close();
});

const inject = async (
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  payload?: object,
  project = 'default',
) => {
  const headers = { 'x-test-project': project };
  const answer = await api.fastify.inject({
    method,
    url,
    headers,
    ...(payload === undefined ? {} : { payload }),
  });
  return { status: answer.statusCode, body: answer.json() };
};
const deliver = () => api.app.get(WebhookDeliverer, { strict: false }).tick();
async function runJob(more: object = {}): Promise<string> {
  const payload = { model: 'm', endpoint: '/v1/completions', input: { prompt: 'x' }, ...more };
  const { body } = await inject('POST', '/v1/jobs', payload);
  await api.runAll();
  await deliver();
  return body.id;
}

describe('webhook endpoints, by OpenAI’s SDK', () => {
  it('are made, listed, changed, given new secrets, tested and deleted', async () => {
    const made = await client.webhooks.create({ url: hook, name: 'mine', event_types: ['batch.completed'] });
    expect(made).toMatchObject({
      object: 'webhook_endpoint',
      name: 'mine',
      event_types: ['batch.completed'],
    });
    expect(made.signing_secret).toMatch(/^whsec_/);
    const second = await client.webhooks.create({ url: hook, name: 'other', event_types: ['batch.failed'] });

    const seen: string[] = [];
    for await (const endpoint of client.webhooks.list({ limit: 1 })) seen.push(endpoint.id);
    expect(seen).toEqual([second.id, made.id]);
    expect(JSON.stringify(await client.webhooks.retrieve(made.id))).not.toContain(made.signing_secret);

    const updated = await client.webhooks.update(made.id, { name: 'renamed' });
    expect([updated.name, updated.url]).toEqual(['renamed', hook]);
    const rotated = await client.webhooks.rotateSecret(made.id, {
      keep_old_secret_active_for_24_hours: true,
    });
    expect(rotated.signing_secret).not.toBe(made.signing_secret);

    expect(await client.webhooks.test(made.id, { event_type: 'batch.completed' })).toMatchObject({
      success: true,
      status_code: 200,
    });
    const event = await client.webhooks.unwrap(
      calls[0]?.body ?? '',
      calls[0]?.headers ?? {},
      rotated.signing_secret,
    );
    expect(event.type).toBe('batch.completed');
    status = 500;
    expect(await client.webhooks.test(made.id, { event_type: 'batch.completed' })).toMatchObject({
      success: false,
      status_code: 500,
    });

    expect(await client.webhooks.delete(made.id)).toMatchObject({ deleted: true });
    await expect(client.webhooks.retrieve(made.id)).rejects.toMatchObject({ status: 404 });
    expect((await client.webhooks.eventTypes.list()).data).toContain('batch.expired');
  });
});

describe('a webhook endpoint with an idempotency key', () => {
  it('is made once, and another body is refused', async () => {
    const post = (payload: object) =>
      api.fastify.inject({
        ...{ method: 'POST', url: '/v1/webhook_endpoints', payload },
        headers: { 'idempotency-key': 'one' },
      });
    const answers = [await post({ url: hook }), await post({ url: hook })];
    expect(answers.map(({ headers }) => headers['idempotent-replayed'])).toEqual([undefined, 'true']);
    expect(answers[1]?.json()).toEqual(answers[0]?.json());
    const other = await post({ url: `${hook}/other` });
    expect([other.statusCode, other.json().code]).toEqual([422, 'idempotency_key_reused']);
    expect((await inject('GET', '/v1/webhook_endpoints')).body.data).toHaveLength(1);
  });
});

describe('a job’s own webhook', () => {
  it('is told of its end, signed with the project’s secret', async () => {
    const { body: secret } = await inject('GET', '/v1/webhook_secret');
    const id = await runJob({ webhook: { url: hook } });
    expect(JSON.parse(calls[0]?.body ?? '')).toMatchObject({
      type: 'batch.completed',
      data: { id },
      x_batch_infer: { job_id: id, status: 'succeeded' },
    });
    new Webhook(secret.signing_secret).verify(calls[0]?.body ?? '', calls[0]?.headers ?? {});
    expect((await inject('GET', `/v1/webhook_deliveries?job_id=${id}`)).body.data).toMatchObject([
      { status: 'delivered', attempts: 1, last_status_code: 200, webhook_endpoint_id: null, url: hook },
    ]);
  });

  it('brings a secret of its own, and says of what it wants to hear', async () => {
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    await runJob({ webhook: { url: hook, events: ['batch.failed'] } });
    expect(calls).toEqual([]);
    await runJob({ webhook: { url: hook, events: ['batch.completed'], secret } });
    new Webhook(secret).verify(calls[0]?.body ?? '', calls[0]?.headers ?? {});
  });

  it('may come in the query of an upload', async () => {
    const query = new URLSearchParams({
      webhook: JSON.stringify({ url: hook }),
      endpoint: '/v1/completions',
    });
    const answer = await api.fastify.inject({
      method: 'POST',
      url: `/v1/jobs?${query}`,
      headers: { 'content-type': 'application/x-ndjson' },
      payload: '{"body":{"model":"m","prompt":"x"}}\n',
    });
    expect(answer.statusCode).toBe(202);
    await api.runAll();
    await deliver();
    expect(calls).toHaveLength(1);
  });

  it.each([
    [{ url: 'ftp://example.com' }, 'webhook.url'],
    [{ url: 'https://user:password@example.com' }, 'webhook.url'],
    [{ url: 'https://example.com', secret: 'short' }, 'webhook.secret'],
    [{ url: 'https://example.com', events: ['job.done'] }, 'webhook.events.0'],
  ])('is refused as %j', async (webhook, param) => {
    const { status, body } = await inject('POST', '/v1/jobs', {
      model: 'm',
      endpoint: '/v1/completions',
      input: { prompt: 'x' },
      webhook,
    });
    expect([status, body.param]).toEqual([400, param]);
  });
});

describe('events', () => {
  it('tell of batches under the names and with the words of OpenAI', async () => {
    await client.webhooks.create({
      url: hook,
      name: 'all',
      event_types: ['batch.completed', 'batch.failed'],
    });
    const file = await client.files.create({
      file: new File(
        ['{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"model":"m","prompt":"x"}}\n'],
        'in.jsonl',
      ),
      purpose: 'batch',
    });
    const create = (endpoint: '/v1/completions' | '/v1/embeddings') =>
      client.batches.create({ input_file_id: file.id, endpoint, completion_window: '24h' });
    const good = await create('/v1/completions');
    await api.runAll(() => refused());
    const bad = await create('/v1/embeddings');
    await deliver();
    expect(calls.map(({ body }) => [JSON.parse(body).type, JSON.parse(body).data.id]).sort()).toEqual([
      // Every line failed: to OpenAI that is a completed batch.
      ['batch.completed', good.id],
      ['batch.failed', bad.id],
    ]);
  });

  it('tell nothing of plain requests', async () => {
    await client.webhooks.create({ url: hook, name: 'all', event_types: ['batch.completed'] });
    const waiting = client.completions.create({ model: 'm', prompt: 'x' });
    await expect.poll(async () => (await inject('GET', '/v1/jobs')).body.data.length).toBe(1);
    await api.runAll();
    await waiting;
    await deliver();
    expect(calls).toEqual([]);
  });
});

it('refuses endpoints at private addresses, and shows nothing of other projects', async () => {
  for (const url of [
    'http://127.0.0.1:1/',
    'http://169.254.169.254/latest',
    'http://[::1]/',
    'http://localhost/',
  ]) {
    expect(await inject('POST', '/v1/webhook_endpoints', { url })).toMatchObject({
      status: 400,
      body: { param: 'url' },
    });
  }
  const made = await client.webhooks.create({ url: hook, name: 'x', event_types: ['batch.completed'] });
  await runJob();
  const { body } = await inject('GET', '/v1/webhook_deliveries');
  const [delivery] = body.data;
  for (const [method, url] of [
    ['GET', `/v1/webhook_endpoints/${made.id}`],
    ['POST', `/v1/webhook_endpoints/${made.id}`],
    ['DELETE', `/v1/webhook_endpoints/${made.id}`],
    ['POST', `/v1/webhook_endpoints/${made.id}/test`],
    ['POST', `/v1/webhook_endpoints/${made.id}/rotate_secret`],
    ['POST', `/v1/webhook_deliveries/${delivery.id}/redeliver`],
  ] as const) {
    expect((await inject(method, url, method === 'POST' ? {} : undefined, 'other')).status).toBe(404);
  }
  expect((await inject('GET', '/v1/webhook_deliveries', undefined, 'other')).body.data).toEqual([]);
  expect((await inject('GET', '/v1/webhook_endpoints', undefined, 'other')).body.data).toEqual([]);
  expect((await inject('POST', `/v1/webhook_deliveries/${delivery.id}/redeliver`)).body.status).toBe(
    'pending',
  );
});
