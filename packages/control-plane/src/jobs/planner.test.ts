import type { Job, ResultLine } from '@batch-infer/contracts/native';
import type { Batch, FileObject } from '@batch-infer/contracts/openai';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answered, openTestApi, type TestApi } from '../http/api-conformance.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const upload = async (text: string): Promise<string> => {
  const payload = `--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n${text}\r\n--x--\r\n`;
  const headers = { 'content-type': 'multipart/form-data; boundary=x' };
  return (await api.fastify.inject({ method: 'POST', url: '/v1/files', headers, payload })).json<FileObject>()
    .id;
};
const line = (index: number, url = '/v1/embeddings') =>
  JSON.stringify({ custom_id: `q-${index}`, url, body: { model: 'm', input: 'x' } });
const lines = (count: number) => Array.from({ length: count }, (_, index) => line(index)).join('\n');
const createBatch = async (fileId: string): Promise<Batch> => {
  const payload = { input_file_id: fileId, endpoint: '/v1/embeddings', completion_window: '24h' };
  return (await api.fastify.inject({ method: 'POST', url: '/v1/batches', payload })).json<Batch>();
};
const getBatch = async (id: string) =>
  (await api.fastify.inject({ method: 'GET', url: `/v1/batches/${id}` })).json<Batch>();

describe('the planner', () => {
  it('refuses a batch whose creator died before it could', async () => {
    const fileId = await upload(`${line(0)}\n${line(1, '/v1/completions').replace('"input"', '"prompt"')}`);
    vi.spyOn(api.ledger, 'refuseJob').mockRejectedValueOnce(new Error('killed'));
    await createBatch(fileId);
    const [job] = await api.ledger.listJobs({ projectId: 'default', limit: 1 });
    expect(job?.state).toBe('validating');
    expect(await api.planner.tick()).toBe(0);
    api.advance(5_000);
    expect(await api.planner.tick()).toBe(1);
    expect(await getBatch(job?.id.replace('job_', 'batch_') ?? '')).toMatchObject({
      status: 'failed',
      errors: { data: [{ line: 2, code: 'mismatched_url' }] },
    });
  });

  it('plans a large batch once, whoever does it', async () => {
    const batch = await createBatch(await upload(lines(65 * 256)));
    expect(batch.status).toBe('validating');
    const jobId = batch.id.replace('batch_', 'job_');
    const planned = await Promise.all([api.planner.tick(jobId), api.planner.tick(jobId)]);
    expect(planned[0] + planned[1]).toBe(1);
    expect(await getBatch(batch.id)).toMatchObject({
      status: 'in_progress',
      request_counts: { total: 16_640 },
    });
    expect(await api.ledger.countOrdinals({ jobId })).toBe(65);
  });

  it('plans a batch in the very millisecond of its creation', async () => {
    const fileId = await upload(lines(65 * 256));
    const now = vi.spyOn(Date, 'now').mockReturnValue(Date.now());
    try {
      const { id } = await createBatch(fileId);
      expect(await api.planner.tick(id.replace('batch_', 'job_'))).toBe(1);
    } finally {
      now.mockRestore();
    }
  });

  it('gives a batch that was cancelled before it was planned a line for every item', async () => {
    const batch = await createBatch(await upload(lines(65 * 256)));
    await api.fastify.inject({ method: 'POST', url: `/v1/batches/${batch.id}/cancel` });
    api.advance(5_000);
    await api.planner.tick();
    await api.finalizer.tick();
    const ended = await getBatch(batch.id);
    expect(ended).toMatchObject({ status: 'cancelled', output_file_id: null });
    const content = await api.fastify.inject({
      method: 'GET',
      url: `/v1/files/${ended.error_file_id}/content`,
    });
    const written = content.body.split('\n').filter(Boolean);
    expect(written).toHaveLength(16_640);
    expect(JSON.parse(written.at(-1) ?? '')).toMatchObject({
      custom_id: 'q-16639',
      error: { code: 'batch_cancelled' },
    });
  });
});

describe('the reader of items', () => {
  it('knows the ids of items that never ran, also in the halves of a bisected shard', async () => {
    const items = Array.from({ length: 10 }, (_, index) => ({
      custom_id: `q-${index}`,
      body: { input: 'x' },
    }));
    const payload = { model: 'm', endpoint: '/v1/embeddings', items };
    const { id } = (await api.fastify.inject({ method: 'POST', url: '/v1/jobs', payload })).json<Job>();
    await api.runShard((index) => (index === 4 ? answered('x') : null));
    for (let loss = 0; loss < 2; loss += 1) {
      const nowMs = api.nowMs();
      const [shard] = await api.ledger.takeOffers({ staleBeforeMs: nowMs + 1, limit: 1, nowMs });
      await api.ledger.claimShard({
        shardId: shard?.id ?? '',
        epoch: shard?.epoch ?? 0,
        runnerId: 'r',
        leaseMs: 1_000,
        nowMs,
      });
      api.advance(2_000);
      await api.ledger.expireLeases({ nowMs: api.nowMs(), limit: 10 });
    }
    expect(await api.ledger.listShards({ jobId: id, fromOrdinal: 0, toOrdinal: 1 })).toHaveLength(2);
    await api.runShard((index) => (index === 1 ? answered('y') : null));
    await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` });
    await api.finalizer.tick();
    const results = (await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}/results` })).body
      .split('\n')
      .filter(Boolean)
      .map((text) => JSON.parse(text) as ResultLine);
    expect(results.map(({ index, custom_id, status }) => [index, custom_id, status])).toEqual(
      items.map(({ custom_id }, index) => [
        index,
        custom_id,
        index === 4 || index === 1 ? 'succeeded' : 'cancelled',
      ]),
    );
  });
});
