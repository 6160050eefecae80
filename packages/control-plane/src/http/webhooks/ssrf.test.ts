import type { Problem } from '@batch-infer/contracts/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { literalUrls, namedUrls } from '../../webhooks/ssrf-fixture.js';
import { openTestApi, type TestApi } from '../api-conformance.js';

/** S3: a URL that says by itself where it must not lead is refused when it is given, not only when it would be called. */
const PORT = 9_000;

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi({ BATCH_INFER_WEBHOOK_ALLOW_HOSTS: '127.0.0.1:9001' });
});
afterAll(() => api.close());

const post = (url: string, payload: object | string, type = 'application/json') =>
  api.fastify.inject({ method: 'POST', url, headers: { 'content-type': type }, payload });
const job = (url: string) => ({
  endpoint: '/v1/completions',
  model: 'm',
  items: [{ body: { prompt: 'x' } }],
  webhook: { url },
});
const endpoint = (url: string) => ({ url, name: 'a', event_types: ['batch.completed'] });
const linesWith = (url: string) => {
  const query = new URLSearchParams({ endpoint: '/v1/completions', webhook: JSON.stringify({ url }) });
  return post(`/v1/jobs?${query}`, '{"body":{"model":"m","prompt":"x"}}', 'application/x-ndjson');
};

const urls = literalUrls(PORT);
const jobs = async () => (await api.ledger.listJobs({ projectId: 'default', limit: 100 })).length;

describe(`S3: ${urls.length} URLs of the corpus`, () => {
  it('are refused with the field named, and nothing is made', async () => {
    expect(urls.length).toBeGreaterThanOrEqual(60);
    const made = await post('/v1/webhook_endpoints', endpoint('https://hooks.example.com/'));
    const change = `/v1/webhook_endpoints/${made.json<{ id: string }>().id}`;
    const before = await jobs();
    for (const url of urls) {
      const answers = [
        [await post('/v1/jobs', job(url)), 'webhook.url'],
        [await post('/v1/jobs', { ...job(url), dry_run: true }), 'webhook.url'],
        [await linesWith(url), 'webhook.url'],
        [await post('/v1/webhook_endpoints', endpoint(url)), 'url'],
        [await post(change, { url }), 'url'],
      ] as const;
      for (const [answer, param] of answers) {
        const problem = answer.json<Problem>();
        expect([url, answer.statusCode, problem.param]).toEqual([url, 400, param]);
        expect(problem.detail).toContain(param);
      }
    }
    expect(await jobs()).toBe(before);
    const listed = await api.ledger.listWebhookEndpoints({ projectId: 'default', limit: 100 });
    expect(listed.map(({ url }) => url)).toEqual(['https://hooks.example.com/']);
  });

  it('that hold names are judged when they are called: what a name leads to changes', async () => {
    for (const url of namedUrls(PORT)) expect((await post('/v1/jobs', job(url))).statusCode).toBe(202);
  });

  it('are taken where the operator allows them', async () => {
    expect((await post('/v1/jobs', job('http://127.0.0.1:9001/hook'))).statusCode).toBe(202);
    expect((await post('/v1/webhook_endpoints', endpoint('http://127.0.0.1:9001/'))).statusCode).toBe(200);
    expect((await post('/v1/jobs', job('http://127.0.0.1:9002/hook'))).statusCode).toBe(400);
  });
});

it('a job shows its webhook, and never its secret', async () => {
  const secret = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
  const webhook = { url: 'https://hooks.example.com/a', events: ['batch.failed'], secret };
  const made = await post('/v1/jobs', { ...job(''), webhook });
  const shown = { url: webhook.url, events: ['batch.failed'] };
  expect(made.json()).toMatchObject({ webhook: shown });
  const { id } = made.json<{ id: string }>();
  for (const path of [`/v1/jobs/${id}`, '/v1/jobs']) {
    const answer = await api.fastify.inject({ method: 'GET', url: path });
    expect(answer.body).toContain(JSON.stringify(shown));
    expect(answer.body).not.toContain('whsec_');
  }
  const every = await post('/v1/jobs', job('https://hooks.example.com/b'));
  expect(every.json<{ webhook: { events: string[] } }>().webhook.events).toHaveLength(4);
  const none = await post('/v1/jobs', { ...job(''), webhook: undefined });
  expect(none.json()).toMatchObject({ webhook: null });
});
