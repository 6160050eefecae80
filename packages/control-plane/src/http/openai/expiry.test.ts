import type { Job } from '@batch-infer/contracts/native';
import type { Batch, FileObject } from '@batch-infer/contracts/openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answered, openTestApi, refused, type TestApi } from '../api-conformance.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const HOUR_MS = 3_600_000;
const line = (id: string) =>
  `${JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/embeddings', body: { model: 'm', input: 'x' } })}\n`;
const upload = async (expirySeconds?: number): Promise<string> => {
  const expiry =
    expirySeconds === undefined
      ? ''
      : `--x\r\ncontent-disposition: form-data; name="expires_after[anchor]"\r\n\r\ncreated_at\r\n--x\r\ncontent-disposition: form-data; name="expires_after[seconds]"\r\n\r\n${expirySeconds}\r\n`;
  const payload = `--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n${expiry}--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n${line('a')}${line('b')}\r\n--x--\r\n`;
  const headers = { 'content-type': 'multipart/form-data; boundary=x' };
  return (await api.fastify.inject({ method: 'POST', url: '/v1/files', headers, payload })).json<FileObject>()
    .id;
};
const create = async (fileId: string, more: object = {}): Promise<Batch> => {
  const payload = {
    input_file_id: fileId,
    endpoint: '/v1/embeddings',
    completion_window: '24h',
    ...more,
  };
  return (await api.fastify.inject({ method: 'POST', url: '/v1/batches', payload })).json<Batch>();
};
const statusOf = async (fileId: string | null | undefined) =>
  (await api.fastify.inject({ method: 'GET', url: `/v1/files/${fileId}/content` })).statusCode;
const batchOf = async (id: string) =>
  (await api.fastify.inject({ method: 'GET', url: `/v1/batches/${id}` })).json<Batch>();

describe('files whose time is over', () => {
  it('are the output and error files of a batch that said so; its results stay under our own API', async () => {
    const expiry = { output_expires_after: { anchor: 'created_at', seconds: 3_600 } };
    const { id } = await create(await upload(), expiry);
    await api.runAll((index) => (index === 0 ? answered('x') : refused()));
    const { output_file_id: outputId, error_file_id: errorId } = await batchOf(id);
    const output = (
      await api.fastify.inject({ method: 'GET', url: `/v1/files/${outputId}` })
    ).json<FileObject>();
    expect((output.expires_at ?? 0) - output.created_at).toBe(3_600);
    api.advance(HOUR_MS - 60_000);
    await api.retention.tick();
    expect([await statusOf(outputId), await statusOf(errorId)]).toEqual([200, 200]);
    api.advance(60_000);
    expect(await api.retention.tick()).toBe(2);
    expect([await statusOf(outputId), await statusOf(errorId)]).toEqual([404, 404]);
    const results = await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}/results` });
    expect(results.body.split('\n').filter(Boolean)).toHaveLength(2);
  });

  it('stay for ever when nobody said so', async () => {
    const { id } = await create(await upload());
    await api.runAll();
    const outputId = (await batchOf(id)).output_file_id;
    api.advance(365 * 24 * HOUR_MS);
    // The batch itself had its time.
    expect(await api.retention.tick()).toBe(1);
    expect(await statusOf(outputId)).toBe(200);
  });

  it('are kept while a batch reads them, and go when it has ended', async () => {
    const fileId = await upload(3_600);
    const { id } = await create(fileId);
    api.advance(HOUR_MS);
    expect(await api.retention.tick()).toBe(0);
    await api.runAll();
    expect((await batchOf(id)).request_counts.completed).toBe(2);
    expect(await api.retention.tick()).toBe(1);
    expect(await statusOf(fileId)).toBe(404);
    const job = (await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}` })).json<Job>();
    expect(job.status).toBe('succeeded');
  });
});
