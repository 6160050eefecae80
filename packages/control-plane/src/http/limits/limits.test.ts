import OpenAI from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RequestLimits } from '../../rate-limits/request-limits.js';
import { answered, openTestApi, type TestApi } from '../api-conformance.js';
import { registerRateLimits } from './rate-limit.js';

let api: TestApi;

beforeEach(async () => {
  api = await openTestApi({}, (fastify, { ledger, clock }) =>
    registerRateLimits(fastify, new RequestLimits({ ledger, clock, shared: false })),
  );
  await api.saveRunner(['m']);
});

afterEach(() => api.close());

const ask = async (method: 'GET' | 'POST', url: string, payload?: object, project = 'default') => {
  const headers = { 'x-test-project': project };
  return await api.fastify.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
};
const limit = (projectId: string, change: Parameters<TestApi['ledger']['setProjectLimits']>[0]['change']) =>
  api.ledger.setProjectLimits({ projectId, change });
const create = async (items: number, more: object = {}): Promise<string> => {
  const answer = await ask('POST', '/v1/jobs', {
    model: 'm',
    endpoint: '/v1/completions',
    items: Array.from({ length: items }, () => ({ body: { prompt: 'x'.repeat(400) } })),
    ...more,
  });
  expect(answer.statusCode).toBe(202);
  return answer.json().id;
};
/** Jobs that may run now. */
const offered = async (): Promise<string[]> => {
  const nowMs = api.nowMs();
  const shards = await api.ledger.takeOffers({ staleBeforeMs: nowMs + 1, limit: 10, nowMs });
  return shards.map(({ jobId }) => jobId);
};
const jobOf = async (id: string) => (await ask('GET', `/v1/jobs/${id}`)).json();

describe('requests a minute', () => {
  it('are told in the words of the IETF draft and of OpenAI, and refused beyond', async () => {
    await limit('default', { requestsPerMinute: 3 });
    const first = await ask('GET', '/v1/jobs');
    expect(first.headers).toMatchObject({
      'ratelimit-policy': '"requests";q=3;w=60',
      ratelimit: '"requests";r=2;t=20',
      'x-ratelimit-limit-requests': '3',
      'x-ratelimit-remaining-requests': '2',
      'x-ratelimit-reset-requests': '20s',
    });
    await ask('GET', '/v1/models');
    await ask('GET', '/v1/jobs');
    const refused = await ask('GET', '/v1/jobs');
    expect(refused.statusCode).toBe(429);
    expect(refused.json().error).toMatchObject({ type: 'rate_limit_error', code: 'rate_limited' });
    expect(refused.headers).toMatchObject({ 'x-ratelimit-remaining-requests': '0' });
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(20);
    expect(Number(refused.headers['retry-after-ms'])).toBeGreaterThan(19_000);
    expect(refused.headers['x-should-retry']).toBeUndefined();

    api.advance(20_001);
    expect((await ask('GET', '/v1/jobs')).statusCode).toBe(200);
  });

  it('are each project’s own, and nobody’s without a limit', async () => {
    await limit('default', { requestsPerMinute: 1 });
    await ask('GET', '/v1/jobs');
    expect((await ask('GET', '/v1/jobs')).statusCode).toBe(429);
    const other = await ask('GET', '/v1/jobs', undefined, 'other');
    expect([other.statusCode, other.headers.ratelimit]).toEqual([200, undefined]);
  });

  it('follow a change within seconds', async () => {
    await limit('default', { requestsPerMinute: 1 });
    await ask('GET', '/v1/jobs');
    await limit('default', { requestsPerMinute: null });
    expect((await ask('GET', '/v1/jobs')).statusCode).toBe(429);
    api.advance(5_000);
    expect((await ask('GET', '/v1/jobs')).headers.ratelimit).toBeUndefined();
  });

  it('never refuse an upload, and let plain requests wait for their turn', async () => {
    await limit('default', { requestsPerMinute: 60 });
    const client = new OpenAI({ baseURL: `${await api.listen()}/v1`, apiKey: 'none', maxRetries: 0 });
    for (let used = 0; used < 60; used += 1) await ask('GET', '/v1/webhook_event_types');
    expect((await ask('GET', '/v1/jobs')).statusCode).toBe(429);
    const upload = (name: string) =>
      client.files.create({ file: new File(['{"custom_id":"a"}\n'], name), purpose: 'user_data' });
    await upload('in.jsonl');

    const waiting = client.chat.completions.create({
      model: 'm',
      messages: [{ role: 'user', content: 'x' }],
    });
    await expect
      .poll(async () => (await api.ledger.listJobs({ projectId: 'default', limit: 1 })).length, {
        timeout: 10_000,
      })
      .toBe(1);
    await api.runAll(() => answered('late, not refused'));
    expect((await waiting).choices[0]?.message.content).toBe('late, not refused');
  });
});

describe('jobs at a time', () => {
  it('wait for their turn instead of failing', async () => {
    await limit('default', { maxRunningJobs: 1 });
    const first = await create(2);
    const second = await create(2);
    const plain = await create(1);
    await api.runShard(() => null);
    expect(await jobOf(second)).toMatchObject({
      status: 'queued',
      queue: {
        waiting_for: [{ code: 'budget', message: expect.stringContaining('1 at a time') }],
      },
    });
    expect(await offered()).toEqual([first, plain]);
    expect((await api.runShard(() => answered('x')))?.jobId).toBe(first);
    expect(await offered()).toEqual([second, plain]);
  });

  it('of other projects are not held up', async () => {
    await limit('default', { maxRunningJobs: 1 });
    const first = await create(2);
    await create(2);
    const payload = { model: 'm', endpoint: '/v1/completions', items: [{ body: { prompt: 'x' } }] };
    const other = (await ask('POST', '/v1/jobs', payload, 'other')).json().id;
    expect(await offered()).toEqual([first, other]);
  });
});

it('queued tokens let a small job pass a large one', async () => {
  await limit('default', { maxQueuedTokens: 2_000 });
  // About 360 tokens an item: 100 of input, 256 expected of output.
  const running = await create(3);
  const large = await create(10);
  const small = await create(2);
  expect(await offered()).toEqual([running, small]);
  expect((await jobOf(large)).queue.waiting_for).toMatchObject([
    { code: 'budget', message: expect.stringContaining('2000 tokens') },
  ]);
  await api.runAll();
  expect(await jobOf(large)).toMatchObject({ status: 'succeeded' });
});

it('queued tokens are told in OpenAI’s words', async () => {
  expect((await ask('GET', '/v1/jobs')).headers['x-ratelimit-limit-tokens']).toBeUndefined();
  await limit('default', { maxQueuedTokens: 2_000 });
  api.advance(5_000);
  expect((await ask('GET', '/v1/jobs')).headers).toMatchObject({
    'x-ratelimit-limit-tokens': '2000',
    'x-ratelimit-remaining-tokens': '2000',
    'x-ratelimit-reset-tokens': '0s',
  });
  await create(4);
  api.advance(2_000);
  const queued = (await ask('GET', '/v1/jobs')).headers;
  expect(Number(queued['x-ratelimit-remaining-tokens'])).toBeLessThan(1_000);
  // Nothing has run yet: there is no pace to tell by.
  expect(queued['x-ratelimit-reset-tokens']).toBeUndefined();
  await api.runShard((index) => (index < 2 ? answered('x') : null));
  api.advance(2_000);
  expect((await ask('GET', '/v1/jobs')).headers['x-ratelimit-reset-tokens']).toMatch(/^[1-9]\d*s$/);
  const { project, used } = (await ask('GET', '/v1/limits')).json();
  expect(project).toMatchObject({ max_queued_tokens: 2_000 });
  expect(used).toMatchObject({ requests: null, running_jobs: 1 });
  expect(used.queued_tokens).toBeGreaterThan(0);
});

it('limits are shown with what is used of them', async () => {
  await limit('default', { requestsPerMinute: 10 });
  await ask('GET', '/v1/jobs');
  await create(2);
  expect((await ask('GET', '/v1/limits')).json().used).toMatchObject({ requests: 3, running_jobs: 1 });
});

it('limits are shown to the project and set for it', async () => {
  const set = await ask('POST', '/v1/projects/default/limits', { max_running_jobs: 2 });
  expect(set.json()).toMatchObject({ max_running_jobs: 2, requests_per_minute: null });
  await ask('POST', '/v1/projects/default/limits', { requests_per_minute: 100 });
  const own = {
    project_id: 'default',
    max_running_jobs: 2,
    requests_per_minute: 100,
    max_queued_tokens: null,
  };
  expect((await ask('GET', '/v1/limits')).json()).toMatchObject({ object: 'limits', project: own });
  expect((await ask('GET', '/v1/projects/default/limits')).json()).toMatchObject(own);
  expect((await ask('POST', '/v1/projects/default/limits', { max_running_jobs: 0 })).statusCode).toBe(400);
  expect((await ask('POST', '/v1/projects/a%20b/limits', {})).statusCode).toBe(400);
});
