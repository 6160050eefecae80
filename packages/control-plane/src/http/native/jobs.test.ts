import type { Job, JobList, Problem, ResultLine } from '@batch-infer/contracts/native';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answered, broken, openTestApi, refused, type TestApi } from '../api-conformance.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const chat = { endpoint: '/v1/chat/completions', model: 'm' };
const body = (content = 'canary-prompt') => ({ messages: [{ role: 'user', content }] });
const items = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ custom_id: `q-${index}`, body: body() }));

const post = (url: string, payload?: unknown, headers: Record<string, string> = {}) =>
  api.fastify.inject({
    method: 'POST',
    url,
    headers,
    ...(payload === undefined ? {} : { payload: payload as object }),
  });
const get = (url: string, headers: Record<string, string> = {}) =>
  api.fastify.inject({ method: 'GET', url, headers });
const submit = async (count: number, more: object = {}): Promise<Job> => {
  const answer = await post('/v1/jobs', { ...chat, items: items(count), ...more });
  expect(answer.statusCode, answer.body).toBe(202);
  return answer.json<Job>();
};
const lines = (text: string): ResultLine[] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ResultLine);

describe('handing work over', () => {
  it('answers 202 with the job and where it is, for one input', async () => {
    const answer = await post('/v1/jobs', { ...chat, input: body() });
    expect(answer.statusCode).toBe(202);
    const job = answer.json<Job>();
    expect(answer.headers.location).toBe(`/v1/jobs/${job.id}`);
    expect(job).toMatchObject({
      object: 'job',
      status: 'queued',
      phase: 'queued',
      models: ['m'],
      counts: { total: 1, queued: 1 },
    });
    expect(answer.headers['x-request-id']).toMatch(/^req_/);
    expect(answer.headers['request-id']).toBe(answer.headers['x-request-id']);
  });

  it('takes inline items, an uploaded file, and JSONL as the body', async () => {
    const jsonl = items(3)
      .map((item) => JSON.stringify(item))
      .join('\n');
    const file = await api.fastify.inject({
      method: 'POST',
      url: '/v1/files',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
      payload: `--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\ncontent-type: application/jsonl\r\n\r\n${jsonl}\r\n--x--\r\n`,
    });
    expect(file.statusCode, file.body).toBe(200);
    const answers = await Promise.all([
      post('/v1/jobs', { ...chat, items: items(3) }),
      post('/v1/jobs', { ...chat, file_id: file.json<{ id: string }>().id }),
      api.fastify.inject({
        method: 'POST',
        url: '/v1/jobs?endpoint=/v1/chat/completions&model=m&metadata[run]=7&priority=high',
        headers: { 'content-type': 'application/x-ndjson' },
        payload: jsonl,
      }),
    ]);
    for (const answer of answers) {
      expect(answer.statusCode, answer.body).toBe(202);
      expect(answer.json<Job>().counts.total).toBe(3);
    }
    expect(answers[1]?.json<Job>().input_file_id).toMatch(/^file-/);
    expect(answers[2]?.json<Job>()).toMatchObject({
      priority: 'high',
      metadata: { run: '7' },
      input_file_id: null,
    });
  });

  it('names bad items by their place, and stores nothing', async () => {
    const answer = await post('/v1/jobs', {
      endpoint: '/v1/chat/completions',
      items: [
        { custom_id: 'a', body: { ...body(), model: 'm' } },
        { custom_id: 'a', body: { ...body(), model: 'm' } },
        { body: { model: 'm' } },
        { body: body() },
      ],
    });
    expect(answer.statusCode).toBe(400);
    expect(answer.headers['content-type']).toContain('application/problem+json');
    const problem = answer.json<Problem>();
    expect(problem.errors.map(({ param, code }) => [param, code])).toEqual([
      ['items.1.custom_id', 'duplicate_custom_id'],
      ['items.2.body.messages', 'missing_parameter'],
      ['items.3.body.model', 'missing_model'],
    ]);
    expect(problem.error).toMatchObject({ type: 'invalid_request_error', code: 'invalid_file' });
    expect(problem.detail).toContain('(+2 more)');
    expect(answer.body).not.toContain('canary');
    expect(await api.blobKeys()).toEqual([]);
  });

  it.each([
    [{ input: {} }, 'model'],
    [{ ...chat, input: {} }, 'input.messages'],
    [{ endpoint: '/v1/embeddings', input: { input: 'x' } }, 'model'],
    [{ ...chat, input: body(), items: items(1) }, null],
    [{ ...chat, input: body(), defaults: { stream: true } }, 'defaults.stream'],
    [{ ...chat, input: body(), defaults: { model: 'other' } }, 'defaults.model'],
    [{ ...chat, input: body(), completion_window: 'soon' }, 'completion_window'],
    [{ ...chat, input: body(), surprise: 1 }, 'surprise'],
    [{ ...chat, file_id: 'file-unknown' }, 'file_id'],
  ])('refuses %j at %s', async (payload, param) => {
    const answer = await post('/v1/jobs', payload);
    expect(answer.statusCode, answer.body).toBe(400);
    expect(answer.json<Problem>().param).toBe(param);
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(await api.blobKeys()).toEqual([]);
  });

  it('names the line of a bad JSONL body, and stores nothing', async () => {
    const answer = await api.fastify.inject({
      method: 'POST',
      url: '/v1/jobs?endpoint=/v1/chat/completions&model=m',
      headers: { 'content-type': 'application/x-ndjson' },
      payload: `${JSON.stringify({ body: body() })}\n\nnonsense\n`,
    });
    expect(answer.statusCode).toBe(400);
    expect(answer.json<Problem>()).toMatchObject({
      code: 'invalid_file',
      errors: [{ line: 3, code: 'invalid_json' }],
    });
    expect(await api.blobKeys()).toEqual([]);
  });

  it('answers a dry run with the plan and stores nothing', async () => {
    const answer = await post('/v1/jobs', { ...chat, items: items(300), dry_run: true });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ object: 'job_plan', items: 300, models: { m: 300 }, shards: 2 });
    expect(await api.blobKeys()).toEqual([]);
    expect((await get('/v1/jobs')).json<JobList>().data).toEqual([]);
  });

  it('plans a job of many shards after the answer', async () => {
    const jsonl = Array.from({ length: 256 * 70 }, (_, index) =>
      JSON.stringify({ custom_id: `q-${index}`, body: { input: 'x' } }),
    ).join('\n');
    const answer = await api.fastify.inject({
      method: 'POST',
      url: '/v1/jobs?endpoint=/v1/embeddings&model=m',
      headers: { 'content-type': 'application/x-ndjson' },
      payload: jsonl,
    });
    const { id } = answer.json<Job>();
    expect(answer.json<Job>()).toMatchObject({
      phase: 'validating',
      status: 'queued',
      queue: { waiting_for: [{ code: 'planning' }] },
    });
    expect(await api.planner.tick(id)).toBe(1);
    expect((await get(`/v1/jobs/${id}`)).json<Job>()).toMatchObject({
      phase: 'queued',
      counts: { total: 17_920, queued: 17_920 },
    });
  });
});

describe('sending a create twice', () => {
  it('answers with the first job for the same key and body, and 422 for another body', async () => {
    const headers = { 'idempotency-key': '"key-1"' };
    const first = await post('/v1/jobs', { ...chat, items: items(2) }, headers);
    const again = await post('/v1/jobs', { items: items(2), ...chat }, { 'idempotency-key': 'key-1' });
    expect(again.statusCode).toBe(202);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.json<Job>().id).toBe(first.json<Job>().id);
    const other = await post('/v1/jobs', { ...chat, items: items(3) }, headers);
    expect(other.statusCode).toBe(422);
    expect(other.headers['x-should-retry']).toBe('false');
    expect(await api.blobKeys()).toHaveLength(1);
  });

  it('makes one job of 100 creates at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, () =>
        post('/v1/jobs', { ...chat, input: body() }, { 'idempotency-key': 'once' }),
      ),
    );
    expect(new Set(answers.map((answer) => answer.json<Job>().id)).size).toBe(1);
    expect(answers.filter((answer) => answer.headers['idempotent-replayed'] === undefined)).toHaveLength(1);
    expect(await api.blobKeys()).toHaveLength(1);
  });

  it("finds the first job for an SDK's own retry, which carries no key", async () => {
    const first = await post('/v1/jobs', { ...chat, input: body() }, { 'x-stainless-retry-count': '0' });
    const retry = await post('/v1/jobs', { ...chat, input: body() }, { 'x-stainless-retry-count': '1' });
    const fresh = await post('/v1/jobs', { ...chat, input: body() }, { 'x-stainless-retry-count': '0' });
    expect(retry.json<Job>().id).toBe(first.json<Job>().id);
    expect(fresh.json<Job>().id).not.toBe(first.json<Job>().id);
  });

  it.each(['', '""', 'x'.repeat(256), 'ümlaut'])('refuses the key %j', async (key) => {
    const answer = await post('/v1/jobs', { ...chat, input: body() }, { 'idempotency-key': key });
    expect([answer.statusCode, answer.json<Problem>().code]).toEqual([400, 'invalid_idempotency_key']);
  });
});

describe('watching a job', () => {
  it('shows counts, usage, grouped errors and its end', async () => {
    const { id } = await submit(5);
    await api.runAll((index) => (index === 1 ? refused() : answered('x')));
    const job = (await get(`/v1/jobs/${id}`)).json<Job>();
    expect(job).toMatchObject({
      status: 'succeeded',
      counts: { total: 5, queued: 0, running: 0, succeeded: 4, failed: 1 },
      usage: { input_tokens: 40, cached_input_tokens: 8, output_tokens: 20 },
      errors: [
        {
          code: 'invalid_request',
          message: 'refused by the engine',
          count: 1,
          sample: { index: 1, custom_id: 'q-1' },
        },
      ],
    });
    expect(job.finished_at).not.toBeNull();
    expect(job.output_file_id).toMatch(/^file-/);
  });

  it('answers 304 for a known ETag, and hints at the next poll only while it runs', async () => {
    const { id } = await submit(1);
    const first = await get(`/v1/jobs/${id}`);
    expect(Number(first.headers['retry-after'])).toBeGreaterThan(0);
    const etag = String(first.headers.etag);
    const same = await get(`/v1/jobs/${id}`, { 'if-none-match': etag });
    expect([same.statusCode, same.body]).toEqual([304, '']);
    await api.runAll();
    const ended = await get(`/v1/jobs/${id}`, { 'if-none-match': etag });
    expect(ended.statusCode).toBe(200);
    expect(ended.headers['retry-after']).toBeUndefined();
  });

  it('waits for a change of status, and not at all for an ended job', async () => {
    const { id } = await submit(1);
    const waiting = get(`/v1/jobs/${id}?wait=30`);
    await api.runAll();
    const answer = await waiting;
    expect(['running', 'succeeded']).toContain(answer.json<Job>().status);
    const ended = await get(`/v1/jobs/${id}`, { prefer: 'respond-async, wait=60' });
    expect(ended.json<Job>().status).toBe('succeeded');
    expect((await get(`/v1/jobs/${id}?wait=soon`)).statusCode).toBe(400);
  });

  it('says why it waits: no runner, the wrong runner, a busy runner, an engine that is down', async () => {
    const { id } = await submit(1);
    const reason = async () => (await get(`/v1/jobs/${id}`)).json<Job>().queue.waiting_for;
    expect(await reason()).toEqual([
      {
        code: 'no_runner_for_model',
        message: expect.stringContaining('No runner serves "m". No runner is connected.'),
        since: expect.stringMatching(/^\d{4}-.*Z$/),
      },
    ]);
    await api.saveRunner(['other']);
    expect((await reason())[0]?.message).toContain('Served now: "other"');
    await api.saveRunner(['m'], { free_slots: 0 });
    expect((await reason())[0]?.code).toBe('runners_busy');
    await api.saveRunner(['m'], {
      engines: [
        {
          id: 'engine-0',
          models: ['m'],
          healthy: false,
          window: 8,
          in_flight: 0,
          problem: 'connection refused',
        },
      ],
    });
    expect(await reason()).toMatchObject([
      { code: 'engine_unavailable', message: expect.stringContaining('connection refused') },
    ]);
    await api.saveRunner(['m']);
    expect(await reason()).toEqual([]);
    api.advance(70_000);
    await api.saveRunner(['m']);
    expect((await reason())[0]?.code).toBe('stalled');
  });

  it('lists newest first, with filters and a cursor', async () => {
    const ids: string[] = [];
    for (const run of ['a', 'b', 'a', 'b']) {
      ids.unshift((await submit(1, { metadata: { run } })).id);
      api.advance(10);
    }
    const page = (await get('/v1/jobs?limit=3')).json<JobList>();
    expect(page.data.map(({ id }) => id)).toEqual(ids.slice(0, 3));
    const rest = (await get(`/v1/jobs?limit=3&cursor=${page.next_cursor}`)).json<JobList>();
    expect([rest.data.map(({ id }) => id), rest.has_more, rest.next_cursor]).toEqual([
      ids.slice(3),
      false,
      null,
    ]);
    expect((await get('/v1/jobs?metadata[run]=a')).json<JobList>().data.map(({ id }) => id)).toEqual([
      ids[1],
      ids[3],
    ]);
    expect((await get('/v1/jobs?status=queued&model=m')).json<JobList>().data).toHaveLength(4);
    expect((await get('/v1/jobs?status=succeeded,failed')).json<JobList>().data).toEqual([]);
    expect((await get('/v1/jobs?model=other')).json<JobList>().data).toEqual([]);
    expect((await get('/v1/jobs?status=odd')).statusCode).toBe(400);
  });

  it('does not show a job to another project', async () => {
    const { id } = await submit(1);
    const foreign = { 'x-test-project': 'other' };
    for (const url of [`/v1/jobs/${id}`, `/v1/jobs/${id}/results`, `/v1/jobs/${id}/errors`]) {
      const answer = await get(url, foreign);
      expect([answer.statusCode, answer.json<Problem>().code]).toEqual([404, 'not_found']);
    }
    expect((await post(`/v1/jobs/${id}/cancel`, undefined, foreign)).statusCode).toBe(404);
  });
});

describe('results', () => {
  it('come in input order with the engine’s own body, and errors apart', async () => {
    const { id } = await submit(4);
    await api.runAll((index) =>
      index === 1 ? refused() : index === 2 ? broken() : answered(`answer ${index}\u2028`),
    );
    const answer = await get(`/v1/jobs/${id}/results`);
    expect(answer.headers['content-type']).toContain('application/x-ndjson');
    expect(answer.headers['x-incomplete']).toBeUndefined();
    const results = lines(answer.body);
    expect(results.map(({ index, custom_id, status }) => [index, custom_id, status])).toEqual([
      [0, 'q-0', 'succeeded'],
      [1, 'q-1', 'failed'],
      [2, 'q-2', 'failed'],
      [3, 'q-3', 'succeeded'],
    ]);
    expect(results[0]).toMatchObject({
      response: { object: 'chat.completion' },
      usage: { output_tokens: 5 },
      attempts: 1,
      latency_ms: 12,
    });
    expect(results[2]?.error).toMatchObject({ code: 'engine_unreachable', retryable: true });
    expect(lines((await get(`/v1/jobs/${id}/errors`)).body).map(({ index }) => index)).toEqual([1, 2]);
    expect(
      lines((await get(`/v1/jobs/${id}/results?status=failed&after=1`)).body).map(({ index }) => index),
    ).toEqual([2]);
    expect(lines((await get(`/v1/jobs/${id}/results?after=2`)).body).map(({ index }) => index)).toEqual([3]);
  });

  it('leaves out the first `offset` lines of the input', async () => {
    const { id } = await submit(4);
    await api.runShard((index) => (index === 1 ? null : answered('x')));
    const from = async (query: string) =>
      lines((await get(`/v1/jobs/${id}/results?${query}`)).body).map(({ index }) => index);
    expect(await from('offset=0')).toEqual([0, 2, 3]);
    expect(await from('offset=1')).toEqual([2, 3]);
    expect(await from('offset=3&status=succeeded')).toEqual([3]);
    expect(await from('offset=4')).toEqual([]);
    for (const query of [
      'offset=x',
      'offset=-1',
      'offset=1.5',
      'offset=1&after=2',
      'offset=1&order=completion',
    ]) {
      const answer = await get(`/v1/jobs/${id}/results?${query}`);
      expect([answer.statusCode, answer.json<Problem>().param], query).toEqual([400, 'offset']);
    }
  });

  it('can be read while the job runs, in both orders, and taken up again', async () => {
    const { id } = await submit(600);
    await api.runShard((index) => (index === 3 ? null : answered('x')));
    const early = await get(`/v1/jobs/${id}/results`);
    expect([early.headers['x-incomplete'], early.headers['x-last-line']]).toEqual(['true', '2']);
    expect(lines(early.body)).toHaveLength(255);
    const first = lines((await get(`/v1/jobs/${id}/results?order=completion`)).body);
    expect(first).toHaveLength(255);
    await api.runAll((index) => (index % 2 ? answered('y') : refused()));
    const rest = lines(
      (await get(`/v1/jobs/${id}/results?order=completion&after=${first.at(-1)?.cursor}`)).body,
    );
    const middle = lines(
      (await get(`/v1/jobs/${id}/results?order=completion&after=${first[99]?.cursor}`)).body,
    );
    expect(new Set([...first, ...rest].map(({ index }) => index)).size).toBe(600);
    expect(rest).toHaveLength(345);
    expect(middle).toHaveLength(500);
    expect(lines((await get(`/v1/jobs/${id}/results?after=598`)).body).map(({ index }) => index)).toEqual([
      599,
    ]);
    expect((await get(`/v1/jobs/${id}/results?order=completion&after=x`)).json<Problem>().code).toBe(
      'invalid_cursor',
    );
  });
});

describe('cancel and retry', () => {
  it('keeps what was finished and accounts for the rest', async () => {
    const { id } = await submit(300);
    await api.runShard((index) => (index < 100 ? answered('x') : null));
    const cancelled = await post(`/v1/jobs/${id}/cancel`);
    expect([cancelled.statusCode, cancelled.json<Job>().status]).toEqual([200, 'running']);
    await api.finalizer.tick();
    const job = (await get(`/v1/jobs/${id}`)).json<Job>();
    expect(job).toMatchObject({
      status: 'cancelled',
      counts: { succeeded: 100, cancelled: 200, expired: 0, queued: 0, running: 0 },
    });
    const results = lines((await get(`/v1/jobs/${id}/results`)).body);
    expect(results.map(({ index }) => index)).toEqual(Array.from({ length: 300 }, (_, index) => index));
    expect(results[299]).toMatchObject({
      custom_id: 'q-299',
      status: 'cancelled',
      error: { code: 'job_cancelled' },
      attempts: 0,
    });
    const completion = lines((await get(`/v1/jobs/${id}/results?order=completion&status=cancelled`)).body);
    expect(completion).toHaveLength(200);
    expect(
      lines((await get(`/v1/jobs/${id}/results?order=completion&after=${completion[10]?.cursor}`)).body),
    ).toHaveLength(189);
    expect(lines((await get(`/v1/jobs/${id}/results?status=expired`)).body)).toEqual([]);
    expect((await post(`/v1/jobs/${id}/cancel`)).statusCode).toBe(200);
  });

  it('runs the failed items again under the same id', async () => {
    const { id } = await submit(300);
    await api.runAll((index) => (index % 100 === 7 ? refused() : answered('first')));
    const before = (await get(`/v1/jobs/${id}`)).json<Job>();
    const retried = await post(`/v1/jobs/${id}/retry`, { status: ['failed'] });
    expect([retried.statusCode, retried.json<Job>().status]).toEqual([202, 'queued']);
    expect(retried.json<Job>().counts).toMatchObject({ total: 300, queued: 3, succeeded: 297, failed: 0 });
    expect((await get(`/v1/files/${before.error_file_id}`)).statusCode).toBe(404);
    const ran: number[] = [];
    await api.runAll((index) => {
      ran.push(index);
      return answered('second');
    });
    expect(ran).toEqual([7, 107, 207]);
    const job = (await get(`/v1/jobs/${id}`)).json<Job>();
    expect(job).toMatchObject({
      status: 'succeeded',
      counts: { succeeded: 300, failed: 0 },
      error_file_id: null,
    });
    expect(lines((await get(`/v1/jobs/${id}/results`)).body)).toHaveLength(300);
    expect((await post(`/v1/jobs/${id}/retry`)).json<Problem>().code).toBe('nothing_to_retry');
    expect((await post(`/v1/jobs/${id}/cancel`)).json<Problem>().code).toBe('job_already_ended');
  });

  it('refuses to retry a job that has not ended', async () => {
    const { id } = await submit(1);
    const answer = await post(`/v1/jobs/${id}/retry`, {});
    expect([answer.statusCode, answer.json<Problem>().code]).toEqual([409, 'job_not_ended']);
    expect(answer.headers['x-should-retry']).toBe('false');
  });
});
