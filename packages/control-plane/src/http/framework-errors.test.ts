import { connect } from 'node:net';
import type { AnthropicError } from '@batch-infer/contracts/anthropic';
import type { Problem } from '@batch-infer/contracts/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';

let api: TestApi;
let port: number;
beforeAll(async () => {
  api = await openTestApi();
  port = Number(new URL(await api.listen()).port);
});
afterAll(async () => {
  await api.close();
});

/** Sends bytes as they are; the whole answer. */
function send(bytes: string): Promise<{ status: number; head: string; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (piece: string) => {
      text += piece;
    });
    socket.once('error', reject);
    socket.once('close', () => {
      const [head = '', body = ''] = text.split('\r\n\r\n', 2);
      resolve({ status: Number(head.split(' ')[1]), head: head.toLowerCase(), body });
    });
  });
}
const get = (path: string, more = ''): Promise<{ status: number; head: string; body: string }> =>
  send(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${more}\r\n`);

describe('a request that the framework cannot read is answered like any other', () => {
  it.each<[string, string, number, string]>([
    [
      'a broken % in the path',
      'GET /v1/jobs/%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n',
      400,
      'invalid_request',
    ],
    [
      'a % without digits',
      'GET /v1/files/%zz/content HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n',
      400,
      'invalid_request',
    ],
    [
      'headers that are too large',
      `GET /v1/jobs HTTP/1.1\r\nhost: x\r\nx-much: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    [
      'a path that is too long',
      `GET /v1/jobs?model=${'x'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    ['no HTTP', '\u0016\u0003\u0001\u0000\u0005', 400, 'invalid_request'],
    [
      'two lengths',
      'POST /v1/jobs HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
      400,
      'invalid_request',
    ],
  ])('%s', async (_, bytes, status, code) => {
    const answer = await send(bytes);
    expect(answer.status, answer.head).toBe(status);
    expect(answer.head).toContain('content-type: application/problem+json');
    expect(answer.head).toContain('x-request-id: req_');
    const problem = JSON.parse(answer.body) as Problem;
    expect(problem).toMatchObject({ code, status, error: { type: 'invalid_request_error', code } });
    expect(answer.head).toContain(problem.request_id);
  });

  it('also in the words of Anthropic', async () => {
    const answer = await get('/v1/messages/batches/%ff');
    expect(answer.status).toBe(400);
    expect((JSON.parse(answer.body) as AnthropicError).error.type).toBe('invalid_request_error');
  });
});

describe('a path without the method', () => {
  it.each([
    ['PUT', '/v1/jobs', 'POST, GET, HEAD'],
    ['GET', '/v1/jobs/job_1/cancel', 'POST'],
    ['POST', '/v1/models/org/name', 'GET, HEAD'],
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['PATCH', '/v1/files/file-1', 'GET, HEAD, DELETE'],
  ] as const)('%s %s is 405 with those that it has', async (method, url, allow) => {
    const answer = await api.fastify.inject({ method, url });
    expect([answer.statusCode, answer.headers.allow]).toEqual([405, allow]);
    expect(answer.json<Problem>().detail).toContain(allow);
  });
});

describe('a base URL that is wrong', () => {
  it.each([
    ['POST', '/v1/v1/files', 'has /v1 twice', 'http://HOST:PORT/v1'],
    ['GET', '/v1/v1/v1/models', 'has /v1 twice', 'http://HOST:PORT/v1'],
    ['POST', '/v1/v1/messages/batches', 'has /v1 twice', 'Anthropic'],
    ['POST', '/batches', 'lacks /v1', 'http://HOST:PORT/v1'],
    ['POST', '/chat/completions', 'lacks /v1', 'http://HOST:PORT/v1'],
    ['GET', '/jobs/job_1/results?order=input', 'lacks /v1', 'http://HOST:PORT/v1'],
    ['GET', '/openai/v1/models', 'too much', 'http://HOST:PORT/v1'],
    ['GET', '/nothing', 'nothing at this address', '/openapi.json'],
  ] as const)('%s %s is told how it should read', async (method, url, wrong, right) => {
    const answer = await api.fastify.inject({ method, url });
    expect(answer.statusCode).toBe(404);
    expect(answer.body).toContain(wrong);
    expect(answer.body).toContain(right);
  });
});

it('no answer is taken for another type than it says', async () => {
  for (const url of ['/v1/jobs', '/v1/nothing', '/openapi.json'])
    expect((await api.fastify.inject({ method: 'GET', url })).headers['x-content-type-options']).toBe(
      'nosniff',
    );
});
