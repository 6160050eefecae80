import { toBatchId, toMessageBatchId } from '@batch-infer/contracts';
import type { Job } from '@batch-infer/contracts/native';
import type { Batch } from '@batch-infer/contracts/openai';
import { afterEach, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';

const HOUR_MS = 3_600_000;

let api: TestApi;
const open = async (retention: string, more: Record<string, string> = {}): Promise<void> => {
  api = await openTestApi({ BATCH_INFER_RETENTION: retention, ...more });
};
afterEach(() => api.close());

const get = (url: string) => api.fastify.inject({ method: 'GET', url });
const post = (url: string, payload: object = {}, headers: Record<string, string> = {}) =>
  api.fastify.inject({ method: 'POST', url, payload, headers });
const body = { endpoint: '/v1/embeddings', items: [{ body: { model: 'm', input: 'a' } }] };
const create = async (more: object = {}, headers: Record<string, string> = {}): Promise<string> => {
  const answer = await post('/v1/jobs', { ...body, ...more }, headers);
  expect(answer.statusCode, answer.body).toBe(202);
  return answer.json<Job>().id;
};
/** Every tick until nothing is left to do; how much was removed. */
async function sweep(): Promise<number> {
  let removed = 0;
  for (let last = -1; last !== 0; removed += last) last = await api.retention.tick();
  return removed;
}

it('an ended job is gone after its time, and then nobody can tell it from one that never was', async () => {
  await open('2h');
  const id = await create();
  await api.runAll();
  const fileId = (await get(`/v1/batches/${toBatchId(id)}`)).json<Batch>().output_file_id;
  api.advance(2 * HOUR_MS - 60_000);
  expect(await sweep()).toBe(0);
  expect((await get(`/v1/jobs/${id}/results`)).statusCode).toBe(200);

  api.advance(60_001);
  expect(await sweep()).toBe(1);
  const unknown = 'job_00000000000000000000000000000000';
  for (const path of ['', '/results', '/errors', '/events']) {
    const [gone, never] = [await get(`/v1/jobs/${id}${path}`), await get(`/v1/jobs/${unknown}${path}`)];
    expect(gone.statusCode, path).toBe(404);
    const sameWords = gone.body.replaceAll(id, unknown).replaceAll(/req_\w+/g, '');
    expect(sameWords).toBe(never.body.replaceAll(/req_\w+/g, ''));
  }
  expect((await get(`/v1/batches/${toBatchId(id)}`)).statusCode).toBe(404);
  expect((await get(`/v1/messages/batches/${toMessageBatchId(id)}`)).statusCode).toBe(404);
  expect((await post(`/v1/jobs/${id}/retry`)).statusCode).toBe(404);
  expect((await get('/v1/jobs')).json<{ data: Job[] }>().data).toEqual([]);
  // Its output was made to stay; its input and its segments were its own.
  expect((await get(`/v1/files/${fileId}/content`)).statusCode).toBe(200);
  expect(await api.blobKeys()).toEqual([expect.stringContaining(`${fileId}`)]);
});

it('what it made goes when the file says so, before the job or after it', async () => {
  await open('2h');
  const early = await create({ output_expires_after_seconds: 3_600 });
  const late = await create({ output_expires_after_seconds: 3 * 3_600 });
  await api.runAll();
  api.advance(HOUR_MS + 1_000);
  expect(await sweep()).toBe(1);
  expect((await get(`/v1/jobs/${early}/results`)).statusCode).toBe(200);
  api.advance(HOUR_MS);
  expect(await sweep()).toBe(2);
  expect((await get(`/v1/jobs/${late}`)).statusCode).toBe(404);
  expect((await get('/v1/files')).json<{ data: unknown[] }>().data).toHaveLength(1);
  api.advance(HOUR_MS);
  expect(await sweep()).toBe(1);
  expect(await api.blobKeys()).toEqual([]);
});

it('what it made goes after the server’s time, where the job says nothing', async () => {
  await open('0', { BATCH_INFER_OUTPUT_RETENTION: '2h' });
  await create({ output_expires_after_seconds: 3 * 3_600 });
  const silent = await create();
  await api.runAll();
  const batch = (await get(`/v1/batches/${toBatchId(silent)}`)).json<Batch>();
  const file = (await get(`/v1/files/${batch.output_file_id}`)).json<{
    created_at: number;
    expires_at: number;
  }>();
  expect(file.expires_at - file.created_at).toBe(7_200);
  api.advance(2 * HOUR_MS - 60_000);
  expect(await sweep()).toBe(0);
  api.advance(61_000);
  expect(await sweep()).toBe(1);
  expect((await get(`/v1/files/${batch.output_file_id}`)).statusCode).toBe(404);
  // The results are the job's, and it is still there.
  expect((await get(`/v1/jobs/${silent}/results`)).statusCode).toBe(200);
  api.advance(HOUR_MS);
  expect(await sweep()).toBe(1);
});

it('jobs that run, and those that run again, stay', async () => {
  await open('1h');
  const running = await create({ completion_window: '7d' });
  api.advance(3 * HOUR_MS);
  expect(await sweep()).toBe(0);
  await api.runAll(() => ({ status: 500, body: {}, error: FAILED }));
  api.advance(HOUR_MS - 1_000);
  expect((await post(`/v1/jobs/${running}/retry`)).statusCode).toBe(202);
  api.advance(2_000);
  expect(await sweep()).toBe(0);
  await api.runAll();
  expect(await sweep()).toBe(0);
  expect((await get(`/v1/jobs/${running}`)).json<Job>().status).toBe('succeeded');
  api.advance(HOUR_MS + 1);
  expect(await sweep()).toBeGreaterThan(0);
  expect((await get(`/v1/jobs/${running}`)).statusCode).toBe(404);
});

it('a key that named a dropped job does not bring it back: it makes a new one', async () => {
  await open('1h');
  const key = { 'idempotency-key': 'once' };
  const first = await create({}, key);
  await api.runAll();
  expect(await create({}, key)).toBe(first);
  api.advance(HOUR_MS + 1);
  await sweep();
  const second = await create({}, key);
  expect(second).not.toBe(first);
  expect(await create({}, key)).toBe(second);
  expect((await get(`/v1/jobs/${first}`)).statusCode).toBe(404);
});

it('many are dropped in small steps', async () => {
  await open('1h');
  for (let count = 0; count < 25; count += 1) await create({ metadata: { count: String(count) } });
  await api.runAll();
  api.advance(HOUR_MS + 1);
  const steps: number[] = [];
  for (let last = -1; last !== 0; ) {
    last = await api.retention.tick();
    steps.push(last);
  }
  expect(steps).toEqual([10, 10, 5, 0]);
});

it('with 0 jobs stay for ever', async () => {
  await open('0');
  const id = await create();
  await api.runAll();
  api.advance(10 * 365 * 24 * HOUR_MS);
  expect(await sweep()).toBe(0);
  expect((await get(`/v1/jobs/${id}`)).statusCode).toBe(200);
});

const FAILED = { code: 'engine_error', type: 'server_error', message: 'failed', retryable: true } as const;
