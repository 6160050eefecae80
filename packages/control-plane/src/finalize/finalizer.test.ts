import { openAiLine, readNativeLine } from '@batch-infer/contracts';
import type { Job } from '@batch-infer/contracts/native';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answered, broken, openTestApi, refused, type TestApi } from '../http/api-conformance.js';
import { readBytes } from '../jobs/blob-bytes.js';
import { ItemReader } from '../jobs/item-reader.js';
import { JobTries } from '../jobs/job-tries.js';
import { silentLogger } from '../telemetry/logger.js';
import { Finalizer } from './finalizer.js';
import { OutputFiles } from './output-files.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

async function submit(count: number): Promise<string> {
  const items = Array.from({ length: count }, (_, index) => ({
    custom_id: `q-${index}\u2028`,
    body: { input: 'x' },
  }));
  const payload = { model: 'm', endpoint: '/v1/embeddings', items };
  const answer = await api.fastify.inject({ method: 'POST', url: '/v1/jobs', payload });
  return answer.json<Job>().id;
}
const jobOf = async (id: string) => {
  const job = await api.ledger.getJob({ projectId: 'default', id });
  if (job === null) throw new Error('the job is gone');
  return job;
};
async function contentOf(fileId: string | null): Promise<string> {
  const file = fileId === null ? null : await api.ledger.getFile({ projectId: 'default', id: fileId });
  return file === null ? '' : (await readBytes(api.blobs, { key: file.blobKey })).toString('utf8');
}
const ids = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => (JSON.parse(line) as { custom_id: string }).custom_id);
/** Settles everything, each shard in three segments whose items lie in between each other. */
async function settle(): Promise<void> {
  const answer = (index: number) =>
    index % 7 === 3 ? refused(404) : index % 7 === 5 ? broken() : answered(`answer ${index}`);
  for (
    let round = 0;
    (await api.runShard((index) => (index % 3 === round % 3 ? answer(index) : null))) !== null;
    round += 1
  );
}

describe('the finalizer', () => {
  it('puts every item into exactly one file, in input order, with safe line breaks', async () => {
    const id = await submit(600);
    await settle();
    expect(await api.finalizer.tick()).toBe(1);
    const job = await jobOf(id);
    expect(job).toMatchObject({ state: 'succeeded', total: 600, cancelled: 0, expired: 0 });
    const [output, errors] = [await contentOf(job.outputFileId), await contentOf(job.errorFileId)];
    expect(output).not.toMatch(/[\u2028\u2029\u0085]/);
    expect(ids(output)).toHaveLength(job.succeeded);
    expect(ids(errors)).toHaveLength(job.failed);
    const order = (text: string) => ids(text).map((customId) => Number(/\d+/.exec(customId)?.[0]));
    for (const text of [output, errors])
      expect(order(text)).toEqual(order(text).toSorted((left, right) => left - right));
    expect(new Set([...ids(output), ...ids(errors)]).size).toBe(600);
  });

  it('writes the same bytes when it has to do it again (I11), and the loser leaves nothing', async () => {
    const id = await submit(600);
    await settle();
    const before = await api.blobKeys();
    // The first attempt loses its claim at the last moment.
    vi.spyOn(api.ledger, 'finishJob').mockResolvedValueOnce(false);
    const written: Buffer[] = [];
    const remove = api.blobs.delete.bind(api.blobs);
    vi.spyOn(api.blobs, 'delete').mockImplementation(async ({ key }) => {
      written.push(await readBytes(api.blobs, { key }));
      await remove({ key });
    });
    await api.finalizer.tick();
    expect(await api.blobKeys()).toEqual(before);
    expect(written).toHaveLength(2);
    api.advance(60_000);
    const clock = { nowMs: () => api.nowMs() };
    const other = new Finalizer(
      api.ledger,
      new OutputFiles(
        api.blobs,
        clock,
        { outputRetentionMs: null },
        new ItemReader(api.ledger, api.blobs, clock),
      ),
      clock,
      api.signals,
      new JobTries(api.ledger, api.blobs, clock, api.signals, silentLogger()),
    );
    await other.tick();
    const job = await jobOf(id);
    const again = [await contentOf(job.outputFileId), await contentOf(job.errorFileId)];
    expect(again.sort()).toEqual(written.map((bytes) => bytes.toString('utf8')).sort());
  });

  it('tries again after the store failed, and leaves nothing of the first attempt', async () => {
    const id = await submit(10);
    await settle();
    const before = await api.blobKeys();
    vi.spyOn(api.blobs, 'put').mockRejectedValueOnce(new Error('store failed'));
    expect(await api.finalizer.tick(id)).toBe(0);
    expect(await api.blobKeys()).toEqual(before);
    expect(await jobOf(id)).toMatchObject({
      state: 'finalizing',
      problem: { code: 'finalize_failed', tries: 1 },
    });
    api.advance(20_000);
    expect(await api.finalizer.tick()).toBe(1);
    expect((await jobOf(id)).state).toBe('succeeded');
  });

  it.each(['cancelled', 'expired'] as const)(
    'writes the lines that a client makes of the results, for every kind of end and %s items',
    async (end) => {
      const id = await submit(30);
      await api.runShard((index) =>
        index > 20 ? null : index % 3 === 0 ? answered('x\u2028') : index % 3 === 1 ? refused(422) : broken(),
      );
      if (end === 'cancelled') await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` });
      else await api.ledger.stopJob({ projectId: null, id, reason: 'expired', nowMs: api.nowMs() });
      await api.finalizer.tick();
      const job = await jobOf(id);
      expect(job).toMatchObject({ succeeded: 7, failed: 14, [end]: 9 });
      const { body } = await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}/results` });
      const made = body
        .split('\n')
        .filter(Boolean)
        .map((line) => openAiLine(id, readNativeLine(line)));
      const textOf = (file: 'output' | 'error') =>
        made.flatMap((line) => (line.file === file ? line.pieces : [])).join('');
      expect(textOf('output')).toBe(await contentOf(job.outputFileId));
      expect(textOf('error')).toBe(await contentOf(job.errorFileId));
    },
  );

  it('fails a job whose every item failed, and writes no output file', async () => {
    const id = await submit(3);
    await api.runAll(() => broken());
    expect(await jobOf(id)).toMatchObject({ state: 'failed', outputFileId: null, failed: 3 });
  });

  it('does one job once, however often it is called', async () => {
    const id = await submit(3);
    await settle();
    const ended = await Promise.all([api.finalizer.tick(id), api.finalizer.tick(id), api.finalizer.tick()]);
    expect(ended.reduce((sum, count) => sum + count, 0)).toBe(1);
  });
});
