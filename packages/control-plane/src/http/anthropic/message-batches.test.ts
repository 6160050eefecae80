import type { AnthropicError, MessageBatch, MessageBatchList } from '@batch-infer/contracts/anthropic';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openTestApi, type TestApi } from '../api-conformance.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi({ BATCH_INFER_PUBLIC_URL: 'https://batch.example/' });
});
afterEach(async () => {
  await api.close();
});

const params = { model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'canary-prompt' }] };
const bodyOf = (...ids: string[]) => ({ requests: ids.map((custom_id) => ({ custom_id, params })) });
const BATCHES = '/v1/messages/batches';
const post = (payload: unknown, headers: Record<string, string> = {}, url = BATCHES) =>
  api.fastify.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  });
const get = (url: string, headers: Record<string, string> = {}) =>
  api.fastify.inject({ method: 'GET', url, headers });
const create = async (...ids: string[]) => (await post(bodyOf(...ids))).json<MessageBatch>();

describe('a message batch', () => {
  it('links to where the server is configured to be, whatever the Host says', async () => {
    const { id } = await create('a');
    await api.runAll();
    const ended = (await get(`${BATCHES}/${id}`, { host: 'evil.example' })).json<MessageBatch>();
    expect(ended.results_url).toBe(`https://batch.example/v1/messages/batches/${id}/results`);
  });

  it('is the same job under our own API, and no OpenAI batch of the list', async () => {
    const { id } = await create('a', 'b');
    const job = (await get(`/v1/jobs/${id}`)).json();
    expect(job).toMatchObject({
      id: id.replace('msgbatch_', 'job_'),
      endpoint: '/v1/messages',
      models: ['m'],
      counts: { total: 2 },
      input_file_id: null,
    });
    expect((await get('/v1/batches')).json()).toMatchObject({ data: [] });
    expect((await get('/v1/files')).json()).toMatchObject({ data: [] });
  });

  it('says what it waits for, while it waits', async () => {
    const { id } = await create('a');
    const waiting = (await get(`${BATCHES}/${id}`)).json<MessageBatch>();
    expect(waiting.x_batch_infer).toMatchObject({ waiting_for: [{ code: 'no_runner_for_model' }] });
    await api.runAll();
    expect((await get(`${BATCHES}/${id}`)).json<MessageBatch>()).not.toHaveProperty('x_batch_infer');
  });

  it('is not what jobs of other dialects can be read as', async () => {
    const job = (
      await api.fastify.inject({
        method: 'POST',
        url: '/v1/jobs',
        payload: { model: 'm', endpoint: '/v1/embeddings', input: { input: 'x' } },
      })
    ).json<{ id: string }>();
    for (const id of [job.id, job.id.replace('job_', 'msgbatch_'), 'msgbatch_unknown'])
      expect((await get(`${BATCHES}/${id}`)).statusCode).toBe(404);
    expect((await get(BATCHES)).json<MessageBatchList>()).toEqual({
      data: [],
      has_more: false,
      first_id: null,
      last_id: null,
    });
  });

  it('has results only when it has ended, as lines without a blank one', async () => {
    const { id } = await create('a', 'b');
    const early = await get(`${BATCHES}/${id}/results`);
    expect([early.statusCode, early.headers['x-should-retry']]).toEqual([409, 'false']);
    await api.runAll();
    const results = await get(`${BATCHES}/${id}/results`);
    expect(results.headers['content-type']).toBe('application/x-jsonl; charset=utf-8');
    expect(results.body.split('\n').map((line) => line.slice(0, 14))).toEqual([
      '{"custom_id":"',
      '{"custom_id":"',
      '',
    ]);
  });

  it('is made once for a key, and of another body not at all', async () => {
    const key = { 'idempotency-key': 'k1' };
    const first = await post(bodyOf('a'), key);
    const again = await post(bodyOf('a'), key);
    expect(again.json()).toEqual(first.json());
    expect(again.headers['idempotent-replayed']).toBe('true');
    const other = await post(bodyOf('b'), key);
    expect(other.statusCode).toBe(422);
    expect(other.json<AnthropicError>().error.type).toBe('invalid_request_error');
    expect(await api.ledger.listJobs({ projectId: 'default', limit: 9 })).toHaveLength(1);
  });

  it('leaves nothing behind when it is refused or deleted', async () => {
    expect((await post(bodyOf('a', 'a'))).statusCode).toBe(400);
    expect((await post('{"requests":[')).statusCode).toBe(400);
    expect(await api.blobKeys()).toEqual([]);
    const { id } = await create('a', 'b');
    await api.runShard((index) => (index === 0 ? { status: 200, body: { content: [] } } : null));
    await post('', {}, `${BATCHES}/${id}/cancel`);
    await api.finalizer.tick();
    expect((await api.fastify.inject({ method: 'DELETE', url: `${BATCHES}/${id}` })).json()).toEqual({
      id,
      type: 'message_batch_deleted',
    });
    expect(await api.blobKeys()).toEqual([]);
  });

  it('takes a body that comes in many pieces, larger than any other JSON may be', async () => {
    const filler = 'x'.repeat(20_000);
    const requests = Array.from({ length: 1_000 }, (_, index) => ({
      custom_id: `q-${index}`,
      params: { ...params, system: filler },
    }));
    const answer = await post({ requests });
    expect(answer.statusCode, answer.body).toBe(200);
    expect(answer.json<MessageBatch>().request_counts.processing).toBe(1_000);
  });
});

describe('errors under /v1/messages', () => {
  it.each<[string, () => ReturnType<typeof get>, number, string, string]>([
    ['a body that is no JSON', () => post('{"requests":[{]}'), 400, 'invalid_request_error', 'invalid_json'],
    ['an empty body', () => post(''), 400, 'invalid_request_error', 'invalid_json'],
    [
      'another content type',
      () => post('{}', { 'content-type': 'application/x-ndjson' }),
      415,
      'invalid_request_error',
      'unsupported_media_type',
    ],
    [
      'a form',
      () => post('a=b', { 'content-type': 'application/x-www-form-urlencoded' }),
      415,
      'invalid_request_error',
      'unsupported_media_type',
    ],
    ['an unknown batch', () => get(`${BATCHES}/msgbatch_1`), 404, 'not_found_error', 'not_found'],
    ['an unknown route', () => get('/v1/messages/nothing'), 404, 'not_found_error', 'not_found'],
    [
      'a limit that is too large',
      () => get(`${BATCHES}?limit=1001`),
      400,
      'invalid_request_error',
      'invalid_parameter',
    ],
    [
      'both ends of a page',
      () => get(`${BATCHES}?before_id=msgbatch_1&after_id=msgbatch_2`),
      400,
      'invalid_request_error',
      'invalid_parameter',
    ],
    [
      'a key that is no key',
      () => post(bodyOf('a'), { 'idempotency-key': 'a b' }),
      400,
      'invalid_request_error',
      'invalid_idempotency_key',
    ],
  ])('are in the words of its API: %s', async (_, ask, status, type, code) => {
    const answer = await ask();
    expect(answer.statusCode, answer.body).toBe(status);
    expect(answer.headers['content-type']).toContain('application/json');
    const body = answer.json<AnthropicError>();
    expect(body).toMatchObject({
      type: 'error',
      error: { type, message: expect.any(String) },
      request_id: answer.headers['request-id'],
      x_batch_infer: { code },
    });
    expect(answer.headers['x-request-id']).toBe(body.request_id);
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(answer.body).not.toContain('canary');
  });

  it('say 529 when the ledger does not answer, and when to ask again', async () => {
    const refused = Object.assign(new Error('no database'), { code: 'ECONNREFUSED' });
    vi.spyOn(api.ledger, 'listJobs').mockRejectedValueOnce(refused);
    const answer = await get(BATCHES);
    expect(answer.statusCode).toBe(529);
    expect(answer.headers['retry-after']).toBe('2');
    expect(answer.json<AnthropicError>().error.type).toBe('overloaded_error');
  });

  it('are api_error when something broke, and worth a retry', async () => {
    vi.spyOn(api.ledger, 'listJobs').mockRejectedValueOnce(new Error('canary'));
    const answer = await get(BATCHES);
    expect([answer.statusCode, answer.json<AnthropicError>().error.type]).toEqual([500, 'api_error']);
    expect(answer.headers['x-should-retry']).toBeUndefined();
    expect(answer.body).not.toContain('canary');
  });

  it('follow the header where both dialects have the path', async () => {
    expect((await get('/v1/models/x', { 'anthropic-version': '2023-06-01' })).json()).toMatchObject({
      type: 'error',
    });
    expect((await get('/v1/models/x')).json()).toMatchObject({
      code: 'not_found',
      error: { code: 'not_found' },
    });
    expect((await get('/v1/batches/x', { 'anthropic-version': '2023-06-01' })).json()).toMatchObject({
      code: 'not_found',
    });
  });
});
