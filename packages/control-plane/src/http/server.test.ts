import type { Problem } from '@batch-infer/contracts/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';
import { openapiDocument } from './openapi.js';
import { API_ROUTES } from './openapi-routes.js';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

describe('the server', () => {
  it('describes every route that it has', () => {
    const described = API_ROUTES.map(
      ({ method, path }) => `${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`,
    );
    const registered = api.routes
      .filter((route) => !route.startsWith('head '))
      .map((route) => route.replace(/\/\*(?:id)?$/, '/:id'));
    expect(registered.length).toBeGreaterThan(20);
    expect(registered.filter((route) => !described.includes(route))).toEqual([]);
    const ours = API_ROUTES.filter(
      ({ tag, path }) =>
        tag !== 'runner protocol' && tag !== 'access' && !/z$|metrics$|^\/health$/.test(path),
    );
    for (const { method, path } of ours)
      expect(registered).toContain(`${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`);
  });

  it('serves an OpenAPI 3.1 document whose references all resolve', async () => {
    const answer = await api.fastify.inject({ method: 'GET', url: '/openapi.json' });
    expect(answer.statusCode).toBe(200);
    const document = answer.json<{ openapi: string; components: { schemas: Record<string, unknown> } }>();
    expect(document.openapi).toBe('3.1.0');
    const references = [...answer.body.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(
      ([, name]) => name ?? '',
    );
    expect(references.length).toBeGreaterThan(20);
    for (const name of references) expect(document.components.schemas, name).toHaveProperty(name);
    expect(openapiDocument()).toEqual(document);
  });

  it('tells its limits and its runners', async () => {
    expect((await api.fastify.inject({ method: 'GET', url: '/v1/limits' })).json()).toMatchObject({
      limits: { lineBytes: 16_777_216 },
    });
    await api.saveRunner(['m']);
    expect((await api.fastify.inject({ method: 'GET', url: '/v1/runners' })).json()).toMatchObject({
      object: 'list',
      data: [{ id: 'runner-1', object: 'runner', models: ['m'] }],
    });
  });

  it.each([
    ['GET', '/v1/nothing', undefined, undefined, 404, 'not_found'],
    ['PUT', '/v1/jobs', undefined, undefined, 405, 'method_not_allowed'],
    ['POST', '/v1/jobs', 'application/json', '{"canary', 400, 'invalid_json'],
    ['POST', '/v1/jobs', 'application/json', '[1]', 400, 'invalid_request'],
    ['POST', '/v1/jobs', 'application/json', '', 400, 'invalid_request'],
    ['POST', '/v1/jobs', 'application/json', '['.repeat(5_000), 400, 'invalid_json'],
    ['POST', '/v1/jobs', 'application/x-www-form-urlencoded', 'a=canary', 415, 'unsupported_media_type'],
    ['POST', '/v1/jobs', 'text/plain', 'canary', 415, 'unsupported_media_type'],
    ['POST', '/v1/jobs?surprise=1', 'application/x-ndjson; charset=utf-8', '{}', 400, 'invalid_parameter'],
    ['POST', '/v1/batches', 'application/x-ndjson', '{}', 415, 'unsupported_media_type'],
    ['POST', '/v1/jobs', 'multipart/form-data; boundary=x', '--x--\r\n', 400, 'invalid_request'],
  ] as const)('answers %s %s (%s) with a problem', async (method, url, type, payload, status, code) => {
    const answer = await api.fastify.inject({
      method,
      url,
      ...(type === undefined ? {} : { headers: { 'content-type': type } }),
      ...(payload === undefined ? {} : { payload }),
    });
    expect([answer.statusCode, answer.json<Problem>().code], answer.body).toEqual([status, code]);
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(answer.json<Problem>().request_id).toBe(answer.headers['x-request-id']);
    expect(answer.body).not.toContain('canary');
  });
});
