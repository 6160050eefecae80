import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { FakeServer, sendJson } from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';
import { WebhookVerificationError } from './webhook-signature.js';

const SECRET = `whsec_${Buffer.alloc(32, 3).toString('base64')}`;
const BODY = JSON.stringify({
  id: 'evt_1',
  object: 'event',
  type: 'batch.completed',
  created_at: 1_800_000_000,
  data: { id: 'batch_1' },
  x_batch_infer: { job_id: 'job_1', status: 'succeeded' },
});
const { webhooks } = new BatchInfer({ baseUrl: 'http://127.0.0.1:1' });

/** Signed by the library of the specification. */
function signed(body = BODY, secret = SECRET, at = new Date()): Record<string, string> {
  return {
    'Webhook-Id': 'evt_1',
    'Webhook-Timestamp': String(Math.floor(at.getTime() / 1_000)),
    'Webhook-Signature': new Webhook(secret).sign('evt_1', at, body),
  };
}

describe('unwrap', () => {
  it('reads what the secret signed, whatever form the headers have', async () => {
    const event = {
      id: 'evt_1',
      type: 'batch.completed',
      createdAt: new Date(1_800_000_000_000),
      jobId: 'job_1',
      status: 'succeeded',
    };
    expect(await webhooks.unwrap(BODY, signed(), SECRET)).toEqual(event);
    expect(await webhooks.unwrap(BODY, new Headers(signed()), SECRET)).toEqual(event);
  });

  it('takes the one of several signatures that fits', async () => {
    const other = `whsec_${Buffer.alloc(32, 4).toString('base64')}`;
    const headers = signed();
    headers['Webhook-Signature'] =
      `v1a,xyz ${signed(BODY, other)['Webhook-Signature']} ${headers['Webhook-Signature']}`;
    await webhooks.unwrap(BODY, headers, SECRET);
  });

  it.each([
    ['another secret', BODY, signed(BODY, `whsec_${Buffer.alloc(32, 4).toString('base64')}`)],
    ['another body', `${BODY} `, signed()],
    ['an old time', BODY, signed(BODY, SECRET, new Date(Date.now() - 301_000))],
    ['a future time', BODY, signed(BODY, SECRET, new Date(Date.now() + 310_000))],
    ['no signature', BODY, { ...signed(), 'Webhook-Signature': '' }],
    ['a signature that is none', BODY, { ...signed(), 'Webhook-Signature': 'v1,%%%' }],
    ['a time that is none', BODY, { ...signed(), 'Webhook-Timestamp': 'now' }],
  ])('refuses %s', async (_, body, headers) => {
    await expect(webhooks.unwrap(body, headers, SECRET)).rejects.toBeInstanceOf(WebhookVerificationError);
  });

  it('says when the secret is none', async () => {
    await expect(webhooks.unwrap(BODY, signed(), 'sk-123')).rejects.toThrow(TypeError);
  });
});

describe('endpoints and deliveries', () => {
  const ENDPOINT = {
    id: 'whe_1',
    object: 'webhook_endpoint',
    name: 'n',
    url: 'https://example.com',
    event_types: ['batch.failed'],
    signing_secret_hint: 'whsec_abc',
    created_at: 1,
    updated_at: 2,
    x_batch_infer: { disabled_at: null },
  };
  const DELIVERY = {
    id: 'whd_1',
    object: 'webhook_delivery',
    event_id: 'evt_1',
    event_type: 'batch.failed',
    job_id: 'job_1',
    webhook_endpoint_id: null,
    url: 'https://example.com',
    status: 'delivered',
    attempts: 1,
    last_status_code: 204,
    last_error: null,
    next_attempt_at: null,
    created_at: 1,
    delivered_at: 2,
  };

  it('speak the server’s wire', async () => {
    await using server = await FakeServer.start(({ method, path }, response) => {
      if (path.endsWith('/test')) {
        const result = { success: false, status_code: 0, x_batch_infer: { error: 'nobody there' } };
        sendJson(response, 200, result);
      } else if (path === '/v1/webhook_secret') sendJson(response, 200, { signing_secret: SECRET });
      else if (path === '/v1/webhook_deliveries') {
        sendJson(response, 200, { data: [DELIVERY], has_more: true, last_id: 'whd_1' });
      } else if (path.endsWith('/redeliver')) sendJson(response, 200, DELIVERY);
      else if (method === 'GET' && path === '/v1/webhook_endpoints')
        sendJson(response, 200, { data: [ENDPOINT] });
      else sendJson(response, 200, { ...ENDPOINT, signing_secret: SECRET });
    });
    const client = new BatchInfer({ baseUrl: server.url });
    const { secret, id } = await client.webhooks.create('https://example.com', {
      eventTypes: ['batch.failed'],
    });
    expect([secret, id]).toEqual([SECRET, 'whe_1']);
    expect(await client.webhooks.list()).toMatchObject([
      { id, createdAt: new Date(1_000), disabledAt: null },
    ]);
    expect(await client.webhooks.get(id)).not.toHaveProperty('secret');
    await client.webhooks.update(id, { name: 'renamed' });
    expect((await client.webhooks.rotateSecret(id, { keepOld: true })).secret).toBe(SECRET);
    expect(await client.webhooks.test(id)).toEqual({ success: false, statusCode: 0, error: 'nobody there' });
    await client.webhooks.delete(id);
    expect(await client.webhooks.secret()).toBe(SECRET);
    expect(await client.webhooks.deliveries({ jobId: 'job_1', status: 'delivered' })).toMatchObject({
      data: [{ id: 'whd_1', endpointId: null, deliveredAt: new Date(2_000) }],
      nextCursor: 'whd_1',
    });
    expect((await client.webhooks.redeliver('whd_1')).status).toBe('delivered');
    expect(server.requests.map(({ method, path, body }) => `${method} ${path} ${body}`.trim())).toEqual([
      'POST /v1/webhook_endpoints {"url":"https://example.com","event_types":["batch.failed"]}',
      'GET /v1/webhook_endpoints',
      'GET /v1/webhook_endpoints/whe_1',
      'POST /v1/webhook_endpoints/whe_1 {"name":"renamed"}',
      'POST /v1/webhook_endpoints/whe_1/rotate_secret {"keep_old_secret_active_for_24_hours":true}',
      'POST /v1/webhook_endpoints/whe_1/test {}',
      'DELETE /v1/webhook_endpoints/whe_1',
      'GET /v1/webhook_secret',
      'GET /v1/webhook_deliveries',
      'POST /v1/webhook_deliveries/whd_1/redeliver',
    ]);
    expect(server.requests.at(-2)?.query.toString()).toBe('job_id=job_1&status=delivered');
  });

  it('a job’s own travels with the job', async () => {
    await using server = await FakeServer.start((_request, response) => sendJson(response, 404, {}));
    const client = new BatchInfer({ baseUrl: server.url, maxRetries: 0 });
    const webhook = { url: 'https://example.com', events: ['batch.failed'] } as const;
    await client.jobs.submit({ model: 'm', input: {}, webhook }).catch(() => undefined);
    await client.jobs.submitFile(new Blob(['{"body":{}}\n']), { webhook }).catch(() => undefined);
    expect(JSON.parse(server.requests[0]?.body ?? '')).toMatchObject({ webhook });
    expect(JSON.parse(server.requests[1]?.query.get('webhook') ?? '')).toEqual(webhook);
  });
});
