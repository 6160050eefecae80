import { afterEach, beforeEach, expect, it } from 'vitest';
import { openTestApi, refused, type TestApi } from '../api-conformance.js';

let api: TestApi;

beforeEach(async () => {
  api = await openTestApi();
  await api.saveRunner(['m']);
});

afterEach(() => api.close());

async function create(items: number, more: object = {}): Promise<string> {
  const { statusCode, body } = await api.fastify.inject({
    method: 'POST',
    url: '/v1/jobs',
    payload: {
      model: 'm',
      endpoint: '/v1/chat/completions',
      items: Array.from({ length: items }, (_, index) => ({
        custom_id: `id-${index}`,
        body: { messages: [{ role: 'user', content: `question ${index}` }] },
      })),
      ...more,
    },
  });
  expect(statusCode).toBe(202);
  return JSON.parse(body).id;
}

const post = async (url: string, payload: object = {}) => {
  const answer = await api.fastify.inject({ method: 'POST', url, payload });
  return { status: answer.statusCode, body: answer.json() };
};
const get = async (url: string) => (await api.fastify.inject({ method: 'GET', url })).json();

it('shows a paused job as what it is, and says that it waits for its resume', async () => {
  const id = await create(3);
  const paused = await post(`/v1/jobs/${id}/pause`);
  expect(paused).toMatchObject({
    status: 200,
    body: {
      id,
      status: 'queued',
      paused: true,
      queue: { position: null, waiting_for: [{ code: 'paused' }] },
    },
  });
  await api.runAll();
  expect(await get(`/v1/jobs/${id}`)).toMatchObject({ counts: { queued: 3, succeeded: 0 }, paused: true });

  expect(await post(`/v1/jobs/${id}/resume`)).toMatchObject({ status: 200, body: { paused: false } });
  await api.runAll();
  expect(await get(`/v1/jobs/${id}`)).toMatchObject({ status: 'succeeded', paused: false });
  expect((await post(`/v1/jobs/${id}/pause`)).status).toBe(409);
  expect((await post('/v1/jobs/job_none/pause')).status).toBe(404);
});

it('stops a job at its error limit, and runs what was left when it is asked to', async () => {
  const id = await create(600, { max_error_rate: 0.05 });
  await api.runShard((index) => (index < 60 ? refused() : null));
  await api.finalizer.tick();
  const failed = await get(`/v1/jobs/${id}`);
  expect(failed).toMatchObject({ status: 'failed', counts: { failed: 60, cancelled: 540, queued: 0 } });

  expect(await post(`/v1/jobs/${id}/retry`, { status: ['failed', 'cancelled'] })).toMatchObject({
    status: 202,
  });
  await api.runAll();
  expect(await get(`/v1/jobs/${id}`)).toMatchObject({ status: 'succeeded', counts: { succeeded: 600 } });
});

it('runs expired items again with a new completion window', async () => {
  const id = await create(2, { completion_window: '1m' });
  api.advance(60_001);
  for (const job of await api.ledger.listExpired({ nowMs: api.nowMs(), limit: 10 })) {
    await api.ledger.stopJob({ projectId: null, id: job.id, reason: 'expired', nowMs: api.nowMs() });
  }
  await api.finalizer.tick();
  expect(await get(`/v1/jobs/${id}`)).toMatchObject({ status: 'expired', counts: { expired: 2 } });
  const { body } = await post(`/v1/jobs/${id}/retry`, { status: ['expired'] });
  expect(Date.parse(body.expires_at)).toBeGreaterThan(api.nowMs());
  await api.runAll();
  expect(await get(`/v1/jobs/${id}`)).toMatchObject({ status: 'succeeded' });
});

it('offers high priority first', async () => {
  const low = await create(1, { priority: 'low' });
  const high = await create(1, { priority: 'high' });
  expect((await api.runShard(() => refused()))?.jobId).toBe(high);
  expect((await api.runShard(() => refused()))?.jobId).toBe(low);
});

it('lists by status, model, metadata and time', async () => {
  const first = await create(1, { metadata: { team: 'red' } });
  await api.runAll();
  api.advance(2_000);
  const createdAfter = new Date(api.nowMs() - 1_000).toISOString();
  const second = await create(1, { model: 'other', metadata: { team: 'blue' } });
  const idsOf = async (query: string) =>
    (await get(`/v1/jobs?${query}`)).data.map(({ id }: { id: string }) => id);
  expect(await idsOf('')).toEqual([second, first]);
  expect(await idsOf('status=succeeded')).toEqual([first]);
  expect(await idsOf('status=queued,running')).toEqual([second]);
  expect(await idsOf('model=other')).toEqual([second]);
  expect(await idsOf('metadata[team]=red')).toEqual([first]);
  expect(await idsOf(`created_after=${createdAfter}`)).toEqual([second]);
  expect(await idsOf('status=succeeded&metadata[team]=blue')).toEqual([]);
});
