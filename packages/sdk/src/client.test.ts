import { describe, expect, it, vi } from 'vitest';
import { endedJob, FakeServer, sendJson, wireJob } from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';
import {
  APIError,
  AuthenticationError,
  BadRequestError,
  ConflictError,
  ConnectionError,
  NotFoundError,
  PermissionError,
  RateLimitError,
  ServerError,
  TimeoutError,
  UnprocessableError,
} from './errors.js';

const atOnce = { 'retry-after-ms': '1' };

describe('where the client talks to', () => {
  it('takes base URL and key from options, else from the environment, else the embedded default', () => {
    vi.stubEnv('BATCH_INFER_BASE_URL', undefined);
    expect(new BatchInfer().baseUrl).toBe('http://127.0.0.1:8080');
    vi.stubEnv('BATCH_INFER_BASE_URL', 'https://batch.example/v1/');
    expect(new BatchInfer().baseUrl).toBe('https://batch.example');
    expect(new BatchInfer({ baseUrl: 'http://other:1/prefix' }).baseUrl).toBe('http://other:1/prefix');
  });

  it.each([
    ['http://h:1/v1/v1', 'http://h:1'],
    ['http://h:1//v1//', 'http://h:1'],
    ['http://h:1/v1/chat/completions', 'http://h:1'],
    ['http://h:1/prefix/v1/jobs/job_1', 'http://h:1/prefix'],
    ['http://h:1/v1/team', 'http://h:1/v1/team'],
    [' http://h:1?x=1 ', 'http://h:1'],
  ])('finds the server in a base URL with too much: %s', (baseUrl, expected) => {
    expect(new BatchInfer({ baseUrl }).baseUrl).toBe(expected);
  });

  it('refuses a base URL that is none', () => {
    expect(() => new BatchInfer({ baseUrl: 'localhost:8080' })).toThrow(/http or https URL/);
  });

  it('leaves out white space around a key, and refuses one that no header can carry without showing it', async () => {
    await using server = await FakeServer.start((_request, response) => sendJson(response, 200, wireJob()));
    for (const apiKey of ['bi_secret\r\n', '  bi_secret ', ' \n'])
      await new BatchInfer({ baseUrl: server.url, apiKey }).jobs.get('job_1');
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer bi_secret',
      'Bearer bi_secret',
      undefined,
    ]);
    for (const apiKey of ['bi_a\nbi_b', 'two words', 'bi_\u00e9']) {
      const attempt = () => new BatchInfer({ baseUrl: server.url, apiKey });
      expect(attempt).toThrow(/BATCH_INFER_API_KEY\) must be one word/);
      expect(attempt).not.toThrow(apiKey);
    }
  });

  it('sends the key as a bearer token, and none when there is none', async () => {
    await using server = await FakeServer.start((_request, response) => sendJson(response, 200, wireJob()));
    await new BatchInfer({ baseUrl: server.url, apiKey: 'bi_secret' }).jobs.get('job_1');
    await new BatchInfer({ baseUrl: server.url }).jobs.get('job_1');
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer bi_secret',
      undefined,
    ]);
  });

  it('uses another fetch when given one', async () => {
    const seen: string[] = [];
    const client = new BatchInfer({
      baseUrl: 'http://nowhere.invalid',
      fetch: async (input) => {
        seen.push(input instanceof Request ? input.url : String(input));
        return Response.json(wireJob());
      },
    });
    await client.jobs.get('job_1');
    expect(seen).toEqual(['http://nowhere.invalid/v1/jobs/job_1']);
  });
});

describe('errors', () => {
  it.each([
    [400, BadRequestError],
    [401, AuthenticationError],
    [403, PermissionError],
    [404, NotFoundError],
    [409, ConflictError],
    [413, BadRequestError],
    [418, APIError],
    [422, UnprocessableError],
    [429, RateLimitError],
    [503, ServerError],
  ])('turns status %i into its own class with what the server said', async (status, expected) => {
    const problem = {
      detail: 'Line 2 has no body',
      code: 'invalid_file',
      param: 'body',
      request_id: 'req_9',
      errors: [{ line: 2, param: 'body', code: 'missing_parameter', message: 'is missing' }],
      error: {
        message: 'Line 2 has no body',
        type: 'invalid_request_error',
        param: 'body',
        code: 'invalid_file',
      },
    };
    await using server = await FakeServer.start((_request, response) => sendJson(response, status, problem));
    const error = await new BatchInfer({ baseUrl: server.url, maxRetries: 0 }).jobs
      .get('x')
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(expected);
    expect(error).toMatchObject({
      message: 'Line 2 has no body',
      status,
      code: 'invalid_file',
      param: 'body',
      requestId: 'req_9',
      errors: problem.errors,
    });
  });

  it('understands OpenAI bodies and bodies that are no JSON', async () => {
    await using server = await FakeServer.start((_request, response, count) => {
      if (count === 1)
        sendJson(response, 400, { error: { message: 'bad', type: 't', code: 'c', param: null } });
      else response.writeHead(502).end('<html>Bad gateway</html>');
    });
    const client = new BatchInfer({ baseUrl: server.url, maxRetries: 0 });
    await expect(client.jobs.get('x')).rejects.toMatchObject({ message: 'bad', code: 'c', type: 't' });
    await expect(client.jobs.get('x')).rejects.toMatchObject({ code: 'http_502', retryable: true });
  });

  it('says why the server could not be reached', async () => {
    const server = await FakeServer.start(() => undefined);
    const { url } = server;
    await server[Symbol.asyncDispose]();
    const call = new BatchInfer({ baseUrl: url, maxRetries: 0 }).jobs.get('x');
    await expect(call).rejects.toBeInstanceOf(ConnectionError);
    await expect(call).rejects.toThrow(/Cannot reach http:.*ECONNREFUSED/);
  });

  it('gives up on a server that does not answer in time', async () => {
    await using server = await FakeServer.start(() => undefined);
    const client = new BatchInfer({ baseUrl: server.url, maxRetries: 0, timeoutMs: 30 });
    await expect(client.jobs.get('x')).rejects.toBeInstanceOf(TimeoutError);
  });

  it('gives up on an upload and on an answer that stop moving, and says so', async () => {
    await using server = await FakeServer.start(({ method }, response) => {
      // The upload is never read; the answer begins and never ends.
      if (method === 'GET')
        response.writeHead(200, { 'content-type': 'application/x-ndjson' }).write('{"index":0');
    });
    const client = new BatchInfer({ baseUrl: server.url, maxRetries: 0, timeoutMs: 50 });
    const reading = async () => {
      for await (const _result of client.jobs.attach('job_1').results());
    };
    const calls = [() => client.jobs.submitFile(new Blob(['{}\n'.repeat(10)]), { model: 'm' }), reading];
    for (const call of calls)
      await expect(call()).rejects.toMatchObject({
        name: 'TimeoutError',
        message: expect.stringContaining('nothing moved on it for 0.05 s'),
      });
  });

  it('passes the reason of the caller who aborts', async () => {
    const controller = new AbortController();
    await using server = await FakeServer.start(() => controller.abort(new Error('changed my mind')));
    const call = new BatchInfer({ baseUrl: server.url }).jobs.get('x', { signal: controller.signal });
    await expect(call).rejects.toThrow('changed my mind');
    expect(server.requests).toHaveLength(1);
  });

  it('names a server that does not speak our language', async () => {
    await using server = await FakeServer.start((_request, response) => {
      response.end('hello');
    });
    await expect(new BatchInfer({ baseUrl: server.url }).jobs.get('x')).rejects.toThrow(/batch-infer server/);
  });
});

describe('retries', () => {
  it('repeats a POST with the same random key until it is answered', async () => {
    await using server = await FakeServer.start((_request, response, count) => {
      if (count === 1) response.destroy();
      else if (count < 4) sendJson(response, 503, {}, atOnce);
      else sendJson(response, 202, wireJob());
    });
    const client = new BatchInfer({ baseUrl: server.url });
    expect((await client.jobs.submitOne({ model: 'm', messages: [] })).id).toBe('job_1');
    const keys = server.requests.map(({ headers }) => headers['idempotency-key']);
    expect(keys).toHaveLength(4);
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
  });

  it('gives every call its own key, and keeps a key that the caller chose', async () => {
    await using server = await FakeServer.start((_request, response) => sendJson(response, 202, endedJob()));
    const client = new BatchInfer({ baseUrl: server.url, maxRetries: 0 });
    await client.jobs.submitOne({}, {});
    await client.jobs.submitOne({}, {});
    await client.jobs.submitOne({}, { idempotencyKey: 'mine' });
    await client.jobs.cancel('job_1');
    const keys = server.requests.map(({ headers }) => headers['idempotency-key']);
    expect(new Set(keys).size).toBe(4);
    expect(keys[2]).toBe('mine');
  });

  it('stops when the server says that trying again is useless', async () => {
    await using server = await FakeServer.start((_request, response) =>
      sendJson(response, 503, {}, { 'x-should-retry': 'false' }),
    );
    await expect(new BatchInfer({ baseUrl: server.url }).jobs.get('x')).rejects.toBeInstanceOf(ServerError);
    expect(server.requests).toHaveLength(1);
  });

  it('counts retries for the whole client: a broken server gets no storm', async () => {
    await using server = await FakeServer.start((_request, response) => sendJson(response, 503, {}, atOnce));
    const client = new BatchInfer({ baseUrl: server.url, maxRetries: 4 });
    await Promise.allSettled(Array.from({ length: 40 }, () => client.jobs.get('x')));
    expect(server.requests).toHaveLength(40 + 40);
  });
});

describe('lists', () => {
  it('names runners and models', async () => {
    await using server = await FakeServer.start(({ path }, response) => {
      const runner = {
        id: 'run_1',
        models: ['m'],
        engines: [],
        free_slots: 3,
        in_flight: 1,
        items_per_second: 2,
      };
      const data =
        path === '/v1/models'
          ? [{ id: 'm', object: 'model', created: 1, owned_by: 'batch-infer' }]
          : [{ ...runner, object: 'runner', version: '1', last_seen_at: '2026-01-01T00:00:00Z' }];
      sendJson(response, 200, { object: 'list', data });
    });
    const client = new BatchInfer({ baseUrl: server.url });
    expect(await client.models.list()).toEqual([{ id: 'm', created: 1, ownedBy: 'batch-infer' }]);
    expect(await client.runners.list()).toMatchObject([
      { id: 'run_1', freeSlots: 3, inFlight: 1, itemsPerSecond: 2 },
    ]);
  });
});
