import type { Problem } from '@batch-infer/contracts/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';
import { API_ROUTES } from './openapi-routes.js';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const ID = 'job_01a2232798077ab687e5bf985027cf8a';
const isTested = ({ tag, scope }: (typeof API_ROUTES)[number]): boolean =>
  scope !== 'public' && tag !== 'runner protocol' && tag !== 'access';
const routes = API_ROUTES.filter(isTested).map((route) => [`${route.method} ${route.path}`, route] as const);
const ask = (method: string, url: string, payload?: string | object, type?: string) =>
  api.fastify.inject({
    method: method.toUpperCase() as 'GET',
    url,
    ...(payload === undefined ? {} : { payload }),
    ...(type === undefined ? {} : { headers: { 'content-type': type } }),
  });
/** The problem, or what stands for it in the words of Anthropic's API. */
const fieldsOf = (body: string): Pick<Problem, 'code' | 'param'> => {
  const answer = JSON.parse(body) as Problem & { x_batch_infer?: Problem };
  return answer.x_batch_infer ?? answer;
};

describe('a query parameter', () => {
  it.each(routes)('that %s does not have is refused by name', async (_, { method, path }) => {
    const answer = await ask(method, `${path.replace('{id}', ID)}?surprise=1`);
    expect(answer.statusCode, answer.body).toBe(400);
    expect(fieldsOf(answer.body)).toMatchObject({ code: 'invalid_parameter', param: 'surprise' });
  });

  const withQuery = routes.filter(([, { query }]) => query !== undefined);
  it.each(withQuery)('that comes twice is refused by name: %s', async (_, { method, path, query }) => {
    for (const name of Object.keys(query ?? {}).filter((key) => !['status', 'include[]'].includes(key))) {
      const answer = await ask(method, `${path.replace('{id}', ID)}?${name}=a&${name}=b`);
      expect(answer.statusCode, answer.body).toBe(400);
      expect(fieldsOf(answer.body).param).toBe(name);
      expect(answer.body).toContain(`${name} came 2 times`);
    }
  });

  it('that official clients add to any address is of no effect', async () => {
    expect((await ask('GET', '/v1/messages/batches?beta=true')).statusCode).toBe(200);
    expect((await ask('GET', '/v1/models?api-version=2024-10-21&limit=20&after_id=x')).statusCode).toBe(200);
    expect((await ask('GET', '/v1/jobs?status=failed&status=queued,running')).statusCode).toBe(200);
  });

  it('beside a JSON body of a job is refused, because it would do nothing', async () => {
    const answer = await ask('POST', '/v1/jobs?dry_run=true', { model: 'm', input: { messages: [{}] } });
    expect([answer.statusCode, answer.json<Problem>().param]).toEqual([400, 'dry_run']);
  });
});

const withoutBody = routes.filter(([, { method, request }]) => method !== 'get' && request === undefined);
const optional = routes.filter(([, { request }]) => request?.required === false);

describe('a request that needs no body', () => {
  it.each([...withoutBody, ...optional])(
    'may have an empty one of any type: %s',
    async (_, { method, path }) => {
      for (const type of [
        'application/x-www-form-urlencoded',
        'text/plain',
        'application/json',
        'application/octet-stream',
      ]) {
        for (const headers of [{ 'content-length': '0' }, { 'transfer-encoding': 'chunked' }]) {
          const answer = await api.fastify.inject({
            method: method.toUpperCase() as 'POST',
            url: path.replace('{id}', ID),
            headers: { 'content-type': type, ...headers },
          });
          expect([400, 415], `${type} ${answer.body}`).not.toContain(answer.statusCode);
        }
      }
    },
  );

  it.each(withoutBody)('names a field that it gets all the same: %s', async (_, { method, path }) => {
    const url = path.replace('{id}', ID);
    const answer = await ask(method, url, { reason: 'because' });
    expect(answer.statusCode, answer.body).toBe(400);
    expect(fieldsOf(answer.body).param).toBe('reason');
    expect((await ask(method, url, {})).statusCode).not.toBe(400);
  });
});

describe('a field that a body must not have', () => {
  it.each<[string, object, string]>([
    [
      '/v1/batches',
      { input_file_id: 'f', endpoint: '/v1/embeddings', completion_window: '24h', window: 1 },
      'window',
    ],
    ['/v1/uploads', { bytes: 1, filename: 'a', mime_type: 'b', purpose: 'batch', expires: 1 }, 'expires'],
    ['/v1/jobs', { input: {}, expires: 1 }, 'expires'],
    [`/v1/jobs/${ID}/retry`, { statuses: ['failed'] }, 'statuses'],
    ['/v1/webhook_endpoints', { url: 'https://example.com/', events: [] }, 'events'],
  ])('is named: %s', async (url, body, param) => {
    const answer = await ask('POST', url, body);
    expect(answer.statusCode, answer.body).toBe(400);
    expect(answer.json<Problem>().param).toBe(param);
  });

  it.each(['/v1/batches', '/v1/jobs', '/v1/chat/completions', '/v1/webhook_endpoints'])(
    'twice is refused: %s',
    async (url) => {
      const answer = await ask(
        'POST',
        url,
        String.raw`{"a":{"model":"m","mod\u0065l":"n"}}`,
        'application/json',
      );
      expect([answer.statusCode, answer.json<Problem>().param], answer.body).toEqual([400, 'model']);
    },
  );
});
