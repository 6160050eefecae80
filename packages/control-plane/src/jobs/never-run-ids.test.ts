import type { Job, ResultLine } from '@batch-infer/contracts/native';
import type { FileObject } from '@batch-infer/contracts/openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
  const answer = await api.fastify.inject({ method: 'POST', url: '/v1/files', headers, payload });
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json<FileObject>().id;
};
/** Ids that look like indexes of other items. */
const idOf = (index: number): string => String((index * 7 + 3) % 1_000);

async function cancelledJob(count: number, planOrder: 'input' | 'auto', models: number): Promise<string> {
  const lines = Array.from({ length: count }, (_, index) =>
    JSON.stringify({ custom_id: idOf(index), body: { model: `m${index % models}`, input: 'x' } }),
  );
  const fileId = await upload(lines.join('\n'));
  const payload = { file_id: fileId, endpoint: '/v1/embeddings', plan_order: planOrder };
  const { id } = (await api.fastify.inject({ method: 'POST', url: '/v1/jobs', payload })).json<Job>();
  await api.planner.tick(id);
  await api.runShard((index) => (index % 2 === 0 ? answered('x') : null));
  await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` });
  await api.finalizer.tick();
  const deleted = await api.fastify.inject({ method: 'DELETE', url: `/v1/files/${fileId}` });
  expect(deleted.statusCode).toBe(200);
  return id;
}
async function resultsOf(id: string, query: string): Promise<ResultLine[]> {
  const { body } = await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}/results${query}` });
  return body
    .split('\n')
    .filter(Boolean)
    .map((text) => JSON.parse(text) as ResultLine);
}

describe('ids of items that were never run, with the input deleted', () => {
  it.each([
    ['in input order', 40, 'input', 1],
    ['of several shards', 600, 'input', 1],
    ['in an order of its own', 600, 'auto', 3],
  ] as const)('are those of the input: a job %s', async (_, count, planOrder, models) => {
    const id = await cancelledJob(count, planOrder, models);
    const job = await api.ledger.getJob({ projectId: 'default', id });
    expect(job?.workBlobKey === undefined).toBe(planOrder === 'input');
    expect(job?.cancelled).toBeGreaterThan(0);
    for (const query of ['', '?order=completion']) {
      const results = await resultsOf(id, query);
      const byIndex = new Map(results.map((line) => [line.index, line.custom_id]));
      expect(results).toHaveLength(count);
      expect([...byIndex].every(([index, customId]) => customId === idOf(index))).toBe(true);
      expect(byIndex.size).toBe(count);
    }
  });

  it('go with the job', async () => {
    const id = await cancelledJob(40, 'input', 1);
    const [key] = (await api.blobKeys()).filter((name) => name.includes('/ids/'));
    expect(await api.ledger.deleteJob({ projectId: 'default', id })).toMatchObject({
      blobKeys: expect.arrayContaining([key]),
    });
  });

  it('are kept from the orphan sweep as long as the job', async () => {
    const id = await cancelledJob(40, 'input', 1);
    const key = (await api.ledger.getJob({ projectId: 'default', id }))?.idsBlobKey ?? '';
    expect(await api.ledger.isBlobReferenced({ key })).toBe(true);
  });

  it('are not invented when nobody kept them', async () => {
    const id = await cancelledJob(40, 'input', 1);
    const job = await api.ledger.getJob({ projectId: 'default', id });
    const getJob = api.ledger.getJob.bind(api.ledger);
    api.ledger.getJob = async (params) => {
      const found = await getJob(params);
      if (found === null) return null;
      const { idsBlobKey: _, ...rest } = found;
      return rest;
    };
    const cancelled = (await resultsOf(id, '')).filter(({ status }) => status === 'cancelled');
    expect(cancelled).toHaveLength(job?.cancelled ?? 0);
    for (const line of cancelled)
      expect(line).toMatchObject({
        custom_id: '',
        error: { message: expect.stringContaining('input file was deleted') },
      });
  });
});
