import { LIMITS } from '@batch-infer/contracts';
import type { Job, ResultLine } from '@batch-infer/contracts/native';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answered, broken, openTestApi, type TestApi } from '../http/api-conformance.js';
import { readBytes } from '../jobs/blob-bytes.js';

/** Jobs that take over answers of earlier ones, over a real ledger and a real folder. */
let api: TestApi;
let submitted: string[];
beforeEach(async () => {
  api = await openTestApi();
  submitted = [];
});
afterEach(async () => {
  await api.close();
});

const HOUR_MS = 3_600_000;
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);
const ask = (text: string, more: object = { temperature: 0 }) => ({
  messages: [{ role: 'user', content: text }],
  ...more,
});
const linesOf = (name: string, bodies: readonly object[]): string =>
  bodies.map((body, index) => JSON.stringify({ custom_id: `${name}-${index}`, body })).join('\n');

async function submit(text: string, options: Record<string, string> = {}, project = 'default'): Promise<Job> {
  const query = new URLSearchParams({
    endpoint: '/v1/chat/completions',
    model: 'm',
    reuse: 'project',
    ...options,
  });
  const answer = await api.fastify.inject({
    method: 'POST',
    url: `/v1/jobs?${query}`,
    headers: { 'content-type': 'application/x-ndjson', 'x-test-project': project },
    payload: text,
  });
  expect(answer.statusCode, answer.body).toBe(202);
  const job = answer.json<Job>();
  submitted.push(job.id);
  return job;
}
const ask100 = (name: string, more: object = { temperature: 0 }) =>
  linesOf(
    name,
    upTo(100).map((index) => ask(`question ${index}`, more)),
  );

/** Plans and runs all that waits; the texts of the requests that reached the engine. */
async function run(answer = (content: string) => answered(`answer to ${content}`)): Promise<string[]> {
  const seen: string[] = [];
  for (const id of submitted) await api.planner.tick(id);
  await api.runAll((_, line) => {
    const { body } = line as { body?: { messages?: { content: string }[] } };
    const content = body?.messages?.[0]?.content ?? '';
    seen.push(content);
    return answer(content);
  });
  return seen;
}

async function jobOf(id: string, project = 'default'): Promise<Job> {
  const headers = { 'x-test-project': project };
  return (await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}`, headers })).json<Job>();
}
async function resultsOf(id: string, query = '', project = 'default'): Promise<ResultLine[]> {
  const headers = { 'x-test-project': project };
  const answer = await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}/results?${query}`, headers });
  return answer.body
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ResultLine);
}
async function outputOf(id: string): Promise<string[]> {
  const fileId = (await jobOf(id)).output_file_id;
  const file = fileId === null ? null : await api.ledger.getFile({ projectId: 'default', id: fileId });
  const text = file === null ? '' : (await readBytes(api.blobs, { key: file.blobKey })).toString('utf8');
  return text.split('\n').filter(Boolean);
}
const blobsOf = async (kind: string) => (await api.blobKeys()).filter((key) => key.includes(`/${kind}/`));

describe('a job that shares answers with its project', () => {
  it('runs nothing that an earlier one has answered, and gives the same bytes under its own ids', async () => {
    const first = await submit(ask100('one'));
    expect(await run()).toHaveLength(100);
    const second = await submit(ask100('two'));
    expect(await run()).toEqual([]);
    expect(await jobOf(second.id)).toMatchObject({
      status: 'succeeded',
      counts: { total: 100, succeeded: 100, failed: 0, queued: 0 },
      reused_items: 100,
      usage: { input_tokens: 0, output_tokens: 0 },
    });
    const [before, after] = [await resultsOf(first.id), await resultsOf(second.id)];
    expect(after.map(({ response }) => response)).toEqual(before.map(({ response }) => response));
    expect(after[7]).toMatchObject({ custom_id: 'two-7', attempts: 0, reused_from: first.id });
    expect(after[7]).not.toHaveProperty('usage');
    expect(before[7]).not.toHaveProperty('reused_from');
    const [one, two] = [await outputOf(first.id), await outputOf(second.id)];
    const digits = (id: string) => id.slice('job_'.length);
    expect(two).toEqual(
      one.map((line) => line.replace(digits(first.id), digits(second.id)).replace('"one-', '"two-')),
    );
    expect(new Set(two.map((line) => (JSON.parse(line) as { id: string }).id)).size).toBe(100);
    expect(await blobsOf('temporary')).toEqual([]);
  });

  it('runs only what has changed, with the rest of its counts right from the start', async () => {
    await submit(ask100('one'));
    await run();
    const changed = upTo(600).map((index) =>
      ask(`question ${index % 2 === 0 ? index % 100 : 1_000 + index}`),
    );
    const { id } = await submit(linesOf('two', changed));
    await api.planner.tick(id);
    expect(await jobOf(id)).toMatchObject({ counts: { succeeded: 300, queued: 300 }, reused_items: 300 });
    const partial = await resultsOf(id, 'order=completion');
    expect(partial.map(({ index }) => index).sort((left, right) => left - right)).toEqual(
      upTo(300).map((index) => 2 * index),
    );
    // What runs lies together.
    const shards = await api.ledger.listShards({ jobId: id, fromOrdinal: 0, toOrdinal: 9 });
    expect(shards.map(({ state }) => state)).toEqual(['ready', 'ready', 'done']);
    const seen = await run();
    expect(seen).toHaveLength(300);
    expect(seen.every((content) => /question 1\d\d\d/.test(content))).toBe(true);
    const results = await resultsOf(id);
    expect(results.map(({ index, custom_id }) => [index, custom_id])).toEqual(
      upTo(600).map((index) => [index, `two-${index}`]),
    );
    for (const { index, response } of results)
      expect(JSON.stringify(response)).toContain(`answer to ${changed[index]?.messages[0]?.content}"`);
    expect(await outputOf(id)).toHaveLength(600);
    expect(await blobsOf('temporary')).toEqual([]);
  });

  it('takes over what succeeded, and only that', async () => {
    await submit(ask100('one'));
    await run((content) => (content.endsWith('3') ? broken() : answered(content)));
    await submit(ask100('two'));
    const seen = await run();
    expect(seen).toEqual(upTo(10).map((index) => `question ${index === 0 ? '' : index}3`));
    // The third one finds some in the second, and those of the first where they were.
    const third = await submit(ask100('three'));
    expect(await run()).toEqual([]);
    expect((await jobOf(third.id)).reused_items).toBe(100);
  });

  it('takes answers of a job that still runs, and has its own when that one is deleted', async () => {
    const first = await submit(ask100('one'));
    await api.planner.tick(first.id);
    await api.runShard((index) => (index < 40 ? answered(`early ${index}`) : null));
    const second = await submit(ask100('two'));
    await api.planner.tick(second.id);
    expect((await jobOf(second.id)).reused_items).toBe(40);
    await run();
    const before = await resultsOf(second.id);
    const output = await outputOf(second.id);
    await api.ledger.deleteJob({ projectId: 'default', id: first.id });
    for (const key of await api.blobKeys()) if (key.includes(first.id)) await api.blobs.delete({ key });
    expect(await resultsOf(second.id)).toEqual(before);
    expect(await outputOf(second.id)).toEqual(output);
    const third = await submit(ask100('three'));
    expect(await run()).toEqual([]);
    expect((await jobOf(third.id)).status).toBe('succeeded');
  });

  it('never sees another project, a job that did not share, or requests that do not determine their answer', async () => {
    await submit(ask100('other'), {}, 'another');
    expect(await run()).toHaveLength(100);
    await submit(ask100('plain'), { reuse: 'job' });
    expect(await run()).toHaveLength(100);
    await submit(ask100('mine'));
    expect(await run()).toHaveLength(100);
    await submit(ask100('warm', { temperature: 0.7 }));
    expect(await run()).toHaveLength(100);
    await submit(ask100('warm again', { temperature: 0.7 }));
    expect(await run()).toHaveLength(100);
    await submit(ask100('not mine'), { reuse: 'none' });
    expect(await run()).toHaveLength(100);
    await submit(ask100('other'), {}, 'another');
    expect(await run()).toEqual([]);
  });

  it('knows a request by what is run: defaults of the job are part of it', async () => {
    await submit(ask100('one', {}), { defaults: '{"temperature":0,"max_tokens":9}' });
    expect(await run()).toHaveLength(100);
    await submit(
      linesOf(
        'two',
        upTo(100).map((index) => ({
          max_tokens: 9,
          model: 'm',
          temperature: 0,
          ...ask(`question ${index}`, {}),
        })),
      ),
    );
    expect(await run()).toEqual([]);
    await submit(ask100('three', {}), { defaults: '{"temperature":0,"max_tokens":10}' });
    expect(await run()).toHaveLength(100);
  });
});

describe('the search for answers', () => {
  it('goes back over as many jobs as it takes', async () => {
    for (let number = 0; number < 105; number += 1) await submit(linesOf('one', [ask(`question ${number}`)]));
    expect(await run()).toHaveLength(105);
    const { id } = await submit(
      linesOf(
        'all',
        upTo(106).map((number) => ask(`question ${number}`)),
      ),
    );
    expect(await run()).toEqual(['question 105']);
    expect((await jobOf(id)).reused_items).toBe(105);
  }, 60_000);

  it('ends at a bound of requests, with what it has found', async () => {
    const old = await submit(linesOf('old', [ask('old')]));
    await submit(linesOf('new', [ask('new')]));
    await run();
    const list = api.ledger.listReuseIndexes.bind(api.ledger);
    vi.spyOn(api.ledger, 'listReuseIndexes').mockImplementation(async (params) =>
      (await list(params)).map((index) =>
        index.jobId === old.id ? { ...index, items: LIMITS.reuseSearchItems } : index,
      ),
    );
    await submit(linesOf('both', [ask('old'), ask('new')]));
    expect(await run()).toEqual(['old']);
  });

  it('takes answers larger than its memory, and cuts them into segments that readers can hold', async () => {
    const many = (name: string) =>
      linesOf(
        name,
        upTo(6).map((index) => ask(`question ${index}`)),
      );
    await submit(many('one'));
    await run((content) => answered(content.repeat(450_000)));
    const { id } = await submit(many('two'));
    expect(await run()).toEqual([]);
    const segments = await api.ledger.listSegments({ jobId: id, limit: 10 });
    expect(segments.map(({ sequence, ordinal }) => [sequence, ordinal])).toEqual([
      [1, 0],
      [2, 0],
      [3, 0],
    ]);
    for (const { index, custom_id: customId, response } of await resultsOf(id)) {
      expect(customId).toBe(`two-${index}`);
      expect(JSON.stringify(response)).toContain(`question ${index}`.repeat(450_000));
    }
    expect(await blobsOf('temporary')).toEqual([]);
  }, 60_000);
});

describe('answers that are not taken over', () => {
  it('are older than a day, or than the job allows, counted from when they were made', async () => {
    await submit(ask100('one'));
    await run();
    api.advance(2 * HOUR_MS);
    const strict = await submit(ask100('two'), { reuse_max_age_seconds: '3600' });
    expect(await run()).toHaveLength(100);
    expect((await jobOf(strict.id)).reused_items).toBe(0);
    await api.ledger.deleteJob({ projectId: 'default', id: strict.id });
    api.advance(20 * HOUR_MS);
    const copy = await submit(ask100('three'));
    expect(await run()).toEqual([]);
    // A copy is as old as what it is a copy of.
    api.advance(3 * HOUR_MS);
    await submit(ask100('four'));
    expect(await run()).toHaveLength(100);
    expect((await jobOf(copy.id)).reused_items).toBe(100);
  });

  it('belong to a job that was deleted or has outlived the retention, of which no key stays', async () => {
    await api.close();
    api = await openTestApi({ BATCH_INFER_RETENTION: '1h' });
    const many = (name: string) =>
      linesOf(
        name,
        upTo(300).map((index) => ask(`question ${index}`)),
      );
    const { id } = await submit(many('one'));
    await run();
    expect(await blobsOf('reuse')).toHaveLength(1);
    const deleted = await api.ledger.deleteJob({ projectId: 'default', id });
    expect(deleted).toMatchObject({ blobKeys: expect.arrayContaining(await blobsOf('reuse')) });
    for (const key of await blobsOf('reuse')) await api.blobs.delete({ key });
    const second = await submit(many('two'));
    expect(await run()).toHaveLength(300);
    api.advance(1.5 * HOUR_MS);
    await api.retention.tick();
    expect((await jobOf(second.id)).status).not.toBe('succeeded');
    await submit(many('three'));
    expect(await run()).toHaveLength(300);
    expect(await blobsOf('reuse')).toHaveLength(1);
  });

  it('belong to a job whose output was deleted, or has expired', async () => {
    const first = await submit(ask100('one'));
    await run();
    const outputId = (await jobOf(first.id)).output_file_id ?? '';
    await api.fastify.inject({ method: 'DELETE', url: `/v1/files/${outputId}` });
    await submit(ask100('two'), { output_expires_after_seconds: '3600' });
    expect(await run()).toHaveLength(100);
    api.advance(1.5 * HOUR_MS);
    await submit(ask100('three'));
    expect(await run()).toHaveLength(100);
  });
});

describe('the planner of a job that shares answers', () => {
  it('leaves nothing half made when it ends midway, and another one goes on', async () => {
    const many = (name: string) =>
      linesOf(
        name,
        upTo(600).map((index) => ask(`question ${index}`)),
      );
    await submit(many('one'));
    await run();
    const before = await api.blobKeys();
    const { id } = await submit(many('two').replace('question 5"', 'changed"'));
    // The claim is lost at one step after the other, until the plan gets through.
    const claim = vi.spyOn(api.ledger, 'claimPlanning');
    for (let step = 1; step <= 4; step += 1) {
      let calls = 0;
      claim.mockImplementation(async () => {
        calls += 1;
        api.advance(6_000);
        return calls <= 2 * step;
      });
      expect(await api.planner.tick(id)).toBe(0);
      expect((await jobOf(id)).counts).toMatchObject({ queued: 600, succeeded: 0 });
      const own = (await api.blobKeys()).filter((key) => !before.includes(key) && !key.includes('/inputs/'));
      expect(own).toEqual([]);
    }
    claim.mockRestore();
    api.advance(60_000);
    expect(await run()).toEqual(['changed']);
    expect(await jobOf(id)).toMatchObject({ status: 'succeeded', reused_items: 599 });
  });

  it('leaves nothing of a plan that came too late', async () => {
    await submit(ask100('one'));
    await run();
    vi.spyOn(api.ledger, 'planJob').mockResolvedValueOnce(false);
    const { id } = await submit(ask100('two'));
    const before = await api.blobKeys();
    await api.planner.tick(id);
    expect(await api.blobKeys()).toEqual(before);
    expect(await run()).toEqual([]);
  });

  it('lets everything run when answers cannot be read or written', async () => {
    await submit(ask100('one'));
    await run();
    const put = api.blobs.put.bind(api.blobs);
    const broken = vi.spyOn(api.blobs, 'put').mockImplementation(async (params) => {
      if (params.key.includes('/segments/')) throw new Error('no room');
      return await put(params);
    });
    const { id } = await submit(ask100('two'));
    await api.planner.tick(id);
    broken.mockRestore();
    expect((await jobOf(id)).counts).toMatchObject({ succeeded: 0, queued: 100 });
    expect(await run()).toHaveLength(100);
    vi.spyOn(api.ledger, 'listReuseIndexes').mockRejectedValueOnce(new Error('the ledger is away'));
    const third = await submit(ask100('three'));
    expect(await run()).toHaveLength(100);
    expect((await jobOf(third.id)).status).toBe('succeeded');
  });

  it('gives a job that is cancelled meanwhile what it found, and it stays cancelled', async () => {
    await submit(ask100('one'));
    await run();
    const { id } = await submit(ask100('two'));
    const plan = api.ledger.planJob.bind(api.ledger);
    vi.spyOn(api.ledger, 'planJob').mockImplementationOnce(async (params) => {
      await api.ledger.stopJob({ projectId: null, id, reason: 'cancelled', nowMs: api.nowMs() });
      return await plan(params);
    });
    expect(await run()).toEqual([]);
    expect(await jobOf(id)).toMatchObject({ status: 'cancelled', counts: { succeeded: 100, cancelled: 0 } });
  });

  it('leaves reused items alone in a retry', async () => {
    await submit(ask100('one'));
    await run();
    const { id } = await submit(
      linesOf(
        'two',
        upTo(120).map((index) => ask(`question ${index}`)),
      ),
    );
    expect(await run(() => broken())).toHaveLength(20);
    expect(await jobOf(id)).toMatchObject({ counts: { succeeded: 100, failed: 20 }, reused_items: 100 });
    await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/retry`, payload: {} });
    expect(await run()).toHaveLength(20);
    expect(await jobOf(id)).toMatchObject({ counts: { succeeded: 120, failed: 0 }, reused_items: 100 });
    expect((await resultsOf(id)).map(({ index }) => index)).toEqual(upTo(120));
  });
});

it('reuse_max_age_seconds needs reuse "project"', async () => {
  const query = 'model=m&reuse=job&reuse_max_age_seconds=60';
  const headers = { 'content-type': 'application/x-ndjson' };
  const answer = await api.fastify.inject({
    method: 'POST',
    url: `/v1/jobs?${query}`,
    headers,
    payload: ask100('x'),
  });
  expect(answer.statusCode).toBe(400);
  expect(answer.json()).toMatchObject({ code: 'invalid_parameter', param: 'reuse_max_age_seconds' });
});
