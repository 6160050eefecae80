import type { Problem } from '@batch-infer/contracts/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';

const image = (host: string) => ({ type: 'image_url', image_url: { url: `https://${host}/x.png` } });
const chat = (host: string) => ({ model: 'm', messages: [{ role: 'user', content: [image(host)] }] });
const message = (host: string) => ({
  model: 'm',
  max_tokens: 1,
  messages: [
    { role: 'user', content: [{ type: 'image', source: { type: 'url', url: `https://${host}/x` } }] },
  ],
});
const ENDPOINT = '/v1/chat/completions';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi({ BATCH_INFER_MEDIA_HOSTS: 'media.example' });
  await api.saveRunner(['m']);
});
afterAll(async () => {
  await api.close();
});

const post = (url: string, payload: object) => api.fastify.inject({ method: 'POST', url, payload });
const upload = (host: string) =>
  api.fastify.inject({
    method: 'POST',
    url: '/v1/files',
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
    payload: `--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n${JSON.stringify({ custom_id: 'a', method: 'POST', url: ENDPOINT, body: chat(host) })}\r\n--x--\r\n`,
  });
const ndjson = (host: string) =>
  api.fastify.inject({
    method: 'POST',
    url: `/v1/jobs?endpoint=${ENDPOINT}`,
    headers: { 'content-type': 'application/x-ndjson' },
    payload: JSON.stringify({ body: chat(host) }),
  });

describe('media on a host that is not allowed is refused where work comes in', () => {
  const SENT: readonly [string, (host: string) => ReturnType<typeof post>, string][] = [
    ['a file', upload, 'body.messages.0.content.0.image_url.url'],
    ['a stream', ndjson, 'body.messages.0.content.0.image_url.url'],
    [
      'items',
      (host) => post('/v1/jobs', { endpoint: ENDPOINT, items: [{ body: chat(host) }] }),
      'items.0.body.messages.0.content.0.image_url.url',
    ],
    [
      'one input',
      (host) => post('/v1/jobs', { endpoint: ENDPOINT, input: chat(host) }),
      'input.messages.0.content.0.image_url.url',
    ],
    [
      'a message batch',
      (host) => post('/v1/messages/batches', { requests: [{ custom_id: 'a', params: message(host) }] }),
      'requests.0.params.messages.0.content.0.source.url',
    ],
  ];

  it.each(SENT)('%s', async (_, send, param) => {
    const refused = await send('internal.example');
    expect(refused.statusCode, refused.body).toBe(400);
    expect(refused.body).toContain(param);
    expect(refused.body).toContain('internal.example');
    expect(refused.body).toContain('--media-hosts');
    const taken = await send('media.example');
    expect(taken.statusCode, taken.body).toBeLessThan(300);
  });

  it('defaults', async () => {
    const refused = await post('/v1/jobs', {
      endpoint: ENDPOINT,
      input: { model: 'm' },
      defaults: { messages: chat('internal.example').messages },
    });
    expect(refused.statusCode).toBe(400);
    expect(refused.json<Problem>().param).toBe('defaults.messages.0.content.0.image_url.url');
  });

  it('a plain request', async () => {
    const refused = await post(ENDPOINT, chat('internal.example'));
    expect(refused.statusCode, refused.body).toBe(400);
    expect(refused.json<Problem>()).toMatchObject({
      param: 'messages.0.content.0.image_url.url',
      errors: [{ code: 'media_url_not_allowed' }],
    });
    const message400 = await post('/v1/messages', message('internal.example'));
    expect(message400.statusCode, message400.body).toBe(400);
    expect(message400.body).toContain('messages.0.content.0.source.url');
  });
});
