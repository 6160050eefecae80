import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeServer, sendJson, wireJob } from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';

const line = '{"custom_id":"a","body":{"messages":[]}}\n';
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-sdk-'));
  await writeFile(join(folder, 'in.jsonl'), line);
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const accepting = () => FakeServer.start((_request, response) => sendJson(response, 202, wireJob()));

describe('submit', () => {
  it('writes options and items as the wire spells them', async () => {
    await using server = await accepting();
    const handle = await new BatchInfer({ baseUrl: server.url }).jobs.submit({
      model: 'm',
      completionWindow: '2h',
      itemTimeoutMs: 5000,
      maxErrorRate: 0.1,
      reuse: 'project',
      reuseMaxAgeSeconds: 3600,
      metadata: { team: 'x' },
      items: [
        { customId: 'a', body: { messages: [] } },
        { custom_id: 'b', method: 'POST', body: {} },
      ],
    });
    expect(handle).toMatchObject({ id: 'job_1', replayed: false });
    expect(handle.latest?.createdAt).toEqual(new Date('2026-01-01T00:00:00Z'));
    const [request] = server.requests;
    expect(request).toMatchObject({ method: 'POST', path: '/v1/jobs' });
    expect(request?.headers['content-type']).toBe('application/json');
    expect(JSON.parse(request?.body ?? '')).toEqual({
      endpoint: '/v1/chat/completions',
      model: 'm',
      completion_window: '2h',
      item_timeout_ms: 5000,
      max_error_rate: 0.1,
      reuse: 'project',
      reuse_max_age_seconds: 3600,
      metadata: { team: 'x' },
      items: [
        { custom_id: 'a', body: { messages: [] } },
        { custom_id: 'b', method: 'POST', body: {} },
      ],
    });
  });

  it('sends one input, or the id of a file', async () => {
    await using server = await accepting();
    const { jobs } = new BatchInfer({ baseUrl: server.url });
    await jobs.submitOne({ model: 'm', messages: [] }, { endpoint: '/v1/responses' });
    await jobs.submit({ fileId: 'file-1' });
    expect(server.requests.map(({ body }) => JSON.parse(body))).toEqual([
      { endpoint: '/v1/responses', input: { model: 'm', messages: [] } },
      { endpoint: '/v1/chat/completions', file_id: 'file-1' },
    ]);
  });

  it('streams many items as NDJSON with the options in the query', async () => {
    await using server = await accepting();
    const items = Array.from({ length: 3000 }, (_, index) => ({ customId: `i${index}`, body: { index } }));
    await new BatchInfer({ baseUrl: server.url }).jobs.submit({
      items,
      model: 'm',
      metadata: { a: 'b' },
      defaults: { temperature: 0 },
    });
    const [request] = server.requests;
    expect(request?.headers['content-type']).toBe('application/x-ndjson');
    expect(Object.fromEntries(request?.query ?? [])).toEqual({
      endpoint: '/v1/chat/completions',
      model: 'm',
      'metadata[a]': 'b',
      defaults: '{"temperature":0}',
    });
    const lines = (request?.body ?? '').trimEnd().split('\n');
    expect(lines).toHaveLength(3000);
    expect(JSON.parse(lines[2999] ?? '')).toEqual({ custom_id: 'i2999', body: { index: 2999 } });
  });

  it('says when it found a job made earlier', async () => {
    await using server = await FakeServer.start((_request, response) =>
      sendJson(response, 202, wireJob(), { 'idempotent-replayed': 'true' }),
    );
    expect((await new BatchInfer({ baseUrl: server.url }).jobs.submitOne({})).replayed).toBe(true);
  });
});

describe('submitFile', () => {
  it.each([
    ['a path', () => join(folder, 'in.jsonl')],
    ['a file URL', () => pathToFileURL(join(folder, 'in.jsonl'))],
    ['a blob', () => new Blob([line])],
    ['a web stream', () => new Blob([line]).stream()],
    [
      'an async iterable',
      () =>
        (async function* () {
          yield line;
        })(),
    ],
  ])('takes %s', async (_name, make) => {
    await using server = await accepting();
    await new BatchInfer({ baseUrl: server.url }).jobs.submitFile(make(), { model: 'm' });
    expect(server.requests[0]).toMatchObject({ path: '/v1/jobs', body: line });
    expect(server.requests[0]?.query.get('model')).toBe('m');
  });

  it('takes an http URL', async () => {
    await using files = await FakeServer.start((_request, response) => {
      response.end(line);
    });
    await using server = await accepting();
    await new BatchInfer({ baseUrl: server.url }).jobs.submitFile(`${files.url}/in.jsonl`);
    expect(server.requests[0]?.body).toBe(line);
  });

  it('derives the key of a path from content and options, so that it can be called again', async () => {
    await using server = await accepting();
    const { jobs } = new BatchInfer({ baseUrl: server.url });
    const path = join(folder, 'in.jsonl');
    await jobs.submitFile(path, { model: 'm', metadata: { a: '1', b: '2' } });
    await jobs.submitFile(path, { metadata: { b: '2', a: '1' }, model: 'm' });
    await jobs.submitFile(path, { model: 'other' });
    await jobs.submitFile(path, { model: 'm', metadata: { a: '1', b: '2' }, fresh: true });
    const keys = server.requests.map(({ headers }) => headers['idempotency-key']);
    expect(keys[0]).toMatch(/^content-[0-9a-f]{64}$/);
    expect(keys[1]).toBe(keys[0]);
    expect(new Set(keys).size).toBe(3);
  });

  it('opens a file again for every attempt', async () => {
    await using server = await FakeServer.start((_request, response, count) => {
      if (count === 1) sendJson(response, 503, {}, { 'retry-after-ms': '1' });
      else sendJson(response, 202, wireJob());
    });
    await new BatchInfer({ baseUrl: server.url }).jobs.submitFile(join(folder, 'in.jsonl'));
    expect(server.requests.map(({ body }) => body)).toEqual([line, line]);
  });

  it('sends a stream once only', async () => {
    await using server = await FakeServer.start((_request, response) =>
      sendJson(response, 503, {}, { 'retry-after-ms': '1' }),
    );
    const call = new BatchInfer({ baseUrl: server.url }).jobs.submitFile(new Blob([line]).stream());
    await expect(call).rejects.toMatchObject({ status: 503 });
    expect(server.requests).toHaveLength(1);
  });

  it('says which file cannot be read, without asking the server', async () => {
    await using server = await accepting();
    const call = new BatchInfer({ baseUrl: server.url }).jobs.submitFile(join(folder, 'missing.jsonl'), {
      fresh: true,
    });
    await expect(call).rejects.toThrow(/Cannot read .*missing\.jsonl: ENOENT/);
    expect(server.requests).toHaveLength(0);
  });

  it('tells a source that breaks from a server that does', async () => {
    await using server = await accepting();
    const broken = (async function* () {
      yield line;
      throw new Error('disk on fire');
    })();
    const call = new BatchInfer({ baseUrl: server.url }).jobs.submitFile(broken);
    await expect(call).rejects.toMatchObject({ name: 'InputReadError', message: /disk on fire/ });
  });
});

describe('list', () => {
  const page = (ids: string[], next: string | null) => ({
    object: 'list',
    data: ids.map((id) => wireJob({ id })),
    has_more: next !== null,
    next_cursor: next,
  });

  it('goes through all pages, and fetches them only as they are wanted', async () => {
    await using server = await FakeServer.start(({ query }, response) =>
      sendJson(
        response,
        200,
        query.get('cursor') === null ? page(['job_1', 'job_2'], 'c1') : page(['job_3'], null),
      ),
    );
    const { jobs } = new BatchInfer({ baseUrl: server.url });
    const ids: string[] = [];
    for await (const job of jobs.list({ status: 'running', metadata: { a: 'b' }, limit: 2 })) {
      ids.push(job.id);
      if (ids.length === 2) expect(server.requests).toHaveLength(1);
    }
    expect(ids).toEqual(['job_1', 'job_2', 'job_3']);
    expect(Object.fromEntries(server.requests[1]?.query ?? [])).toEqual({
      status: 'running',
      'metadata[a]': 'b',
      limit: '2',
      cursor: 'c1',
    });
  });

  it('gives single pages', async () => {
    await using server = await FakeServer.start((_request, response) =>
      sendJson(response, 200, page(['job_1'], 'c1')),
    );
    const first = await new BatchInfer({ baseUrl: server.url }).jobs.list().page();
    expect(first).toMatchObject({ hasMore: true, nextCursor: 'c1' });
  });
});
