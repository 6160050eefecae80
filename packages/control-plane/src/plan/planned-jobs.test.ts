import type { Job, ResultLine } from '@batch-infer/contracts/native';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answered, broken, openTestApi, refused, type TestApi } from '../http/api-conformance.js';
import { readBytes } from '../jobs/blob-bytes.js';
import { chatLine, textOf } from './plan-fixture.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const ITEMS = 600;
const GROUPS = 7;
/** Groups of one beginning take turns, and answers differ in length: every item has another place in the plan. */
const lines = (items = ITEMS): string[] =>
  Array.from({ length: items }, (_, index) =>
    chatLine({
      id: `q-${index}`,
      system: textOf(`group-${index % GROUPS}`, 1_200),
      user: `question ${index}`,
      maxTokens: 1 + ((index * 37) % 500),
    }),
  );

async function submit(text: string, query = ''): Promise<string> {
  const headers = { 'content-type': 'application/x-ndjson' };
  const url = `/v1/jobs?endpoint=/v1/chat/completions&model=m${query}`;
  const answer = await api.fastify.inject({ method: 'POST', url, headers, payload: text });
  expect(answer.statusCode, answer.body).toBe(202);
  const { id } = answer.json<Job>();
  await api.planner.tick(id);
  return id;
}
async function jobOf(id: string) {
  const job = await api.ledger.getJob({ projectId: 'default', id });
  if (job === null) throw new Error('the job is gone');
  return job;
}
async function filesOf(id: string): Promise<string[]> {
  const job = await jobOf(id);
  const contents: string[] = [];
  for (const fileId of [job.outputFileId, job.errorFileId]) {
    const file = fileId === null ? null : await api.ledger.getFile({ projectId: 'default', id: fileId });
    const bytes = file === null ? Buffer.alloc(0) : await readBytes(api.blobs, { key: file.blobKey });
    // Ids of requests are made of the job's own.
    contents.push(bytes.toString('utf8').replaceAll(id.slice('job_'.length), 'JOB'));
  }
  return contents;
}
async function resultsOf(id: string, query = '') {
  const answer = await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}/results?${query}` });
  const results = answer.body
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ResultLine);
  return { results, headers: answer.headers };
}
const mixed = (index: number) =>
  index % 11 === 3 ? refused(404) : index % 11 === 5 ? broken() : answered(`answer ${index}`);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);
const indexesOf = (results: readonly ResultLine[]) => results.map(({ index }) => index);
const isWork = (key: string) => key.includes('/work/');

describe('I11: a job in plan order', () => {
  it('gives the same files and results, to the byte, as one in input order', async () => {
    const text = lines().join('\n');
    const planned = await submit(text);
    const plain = await submit(text, '&plan_order=input');
    expect((await jobOf(planned)).workBlobKey).toBeDefined();
    expect((await jobOf(plain)).workBlobKey).toBeUndefined();
    await api.runAll(mixed);
    expect(await filesOf(planned)).toEqual(await filesOf(plain));
    expect(await jobOf(planned)).toMatchObject({ state: 'succeeded', succeeded: 490, failed: 110 });
    const [one, other] = [await resultsOf(planned), await resultsOf(plain)];
    expect(one.results).toEqual(other.results);
    expect(indexesOf(one.results)).toEqual(upTo(ITEMS));
    const failed = await resultsOf(planned, 'status=failed&after=300');
    expect(failed.results).toEqual((await resultsOf(plain, 'status=failed&after=300')).results);
    expect((await api.blobKeys()).filter((key) => key.includes('/temporary/'))).toEqual([]);
  });

  it('is run with the items of a group side by side', async () => {
    await submit(lines().join('\n'));
    const seen: number[] = [];
    await api.runAll((index) => {
      seen.push(index);
      return answered('x');
    });
    const groups = seen.map((index) => index % GROUPS);
    expect(groups.filter((group, at) => group !== groups[at - 1])).toHaveLength(GROUPS);
  });

  it('is the same after a second finalization, however its items ended', async () => {
    const id = await submit(lines().join('\r\n\r\n'));
    while ((await api.runShard(mixed)) !== null);
    const written: string[] = [];
    const remove = api.blobs.delete.bind(api.blobs);
    vi.spyOn(api.blobs, 'delete').mockImplementation(async ({ key }) => {
      if (key.includes('/files/')) written.push((await readBytes(api.blobs, { key })).toString('utf8'));
      await remove({ key });
    });
    vi.spyOn(api.ledger, 'finishJob').mockResolvedValueOnce(false);
    await api.finalizer.tick();
    api.advance(60_000);
    await api.finalizer.tick();
    const again = (await filesOf(id)).map((text) => text.replaceAll('JOB', id.slice('job_'.length)));
    expect(written.sort()).toEqual(again.sort());
  });

  it('is planned whatever line breaks its input has, and with a byte order mark', async () => {
    const id = await submit(`\ufeff\r\n${lines().join('\r\n \n')}`);
    expect((await jobOf(id)).workBlobKey).toBeDefined();
    await api.runAll((index, line) => answered(`${line.custom_id} is ${index}`));
    const { results } = await resultsOf(id);
    expect(results.map(({ index, custom_id }) => [index, custom_id])).toEqual(
      upTo(ITEMS).map((index) => [index, `q-${index}`]),
    );
    expect(JSON.stringify(results[17])).toContain('q-17 is 17');
  });
});

describe('results of a job in plan order', () => {
  it('can be read while it runs, in input order with the end of the gapless run, and as they come', async () => {
    const id = await submit(lines().join('\n'));
    await api.runShard((index) => (index % 2 === 0 ? answered('x') : null));
    const none = await resultsOf(id);
    const seen = indexesOf(none.results);
    expect(seen.length).toBeGreaterThan(100);
    expect(seen).toEqual(seen.toSorted((left, right) => left - right));
    expect(none.headers).toMatchObject({ 'x-incomplete': 'true' });
    expect(none.headers['x-last-line']).toBe(seen[0] === 0 ? '0' : '-1');
    // What is left of the first shards, the last one not.
    const [first, second] = [
      await api.runShard(() => answered('y')),
      await api.runShard(() => answered('y')),
    ];
    expect([first?.count, second?.count]).toEqual([256, 256]);
    const more = await resultsOf(id);
    const gap = upTo(ITEMS).find((index) => !indexesOf(more.results).includes(index)) ?? ITEMS;
    expect(more.headers['x-last-line']).toBe(String(gap - 1));
    const after = await resultsOf(id, `after=${seen[5]}`);
    expect(after.results).toEqual(more.results.filter(({ index }) => index > (seen[5] ?? 0)));
    await api.runAll();
    const completed: ResultLine[] = [];
    for (let cursor = ''; ; ) {
      const { results } = await resultsOf(id, `order=completion${cursor}`);
      completed.push(...results.slice(0, 150));
      if (results.length <= 150) break;
      cursor = `&after=${completed.at(-1)?.cursor}`;
    }
    expect(indexesOf(completed).sort((left, right) => left - right)).toEqual(upTo(ITEMS));
    expect(new Set(indexesOf(completed)).size).toBe(ITEMS);
  });

  it('end every item once when it is cancelled, those never run with their own ids', async () => {
    const id = await submit(lines().join('\n'));
    const ran = new Set<number>();
    await api.runShard((index) => {
      if (index % 3 === 0) return null;
      ran.add(index);
      return answered('x');
    });
    await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` });
    await api.finalizer.tick();
    expect(await jobOf(id)).toMatchObject({ state: 'cancelled', cancelled: ITEMS - ran.size });
    const { results } = await resultsOf(id);
    expect(results.map(({ index, custom_id, status }) => [index, custom_id, status])).toEqual(
      upTo(ITEMS).map((index) => [index, `q-${index}`, ran.has(index) ? 'succeeded' : 'cancelled']),
    );
    const [, errors] = await filesOf(id);
    const named = errors?.split('\n').filter(Boolean) ?? [];
    expect(named.map((line) => (JSON.parse(line) as { custom_id: string }).custom_id)).toEqual(
      upTo(ITEMS).flatMap((index) => (ran.has(index) ? [] : [`q-${index}`])),
    );
    const rest = await resultsOf(id, 'order=completion&after=end.400');
    expect(indexesOf(rest.results)).toEqual(upTo(ITEMS).filter((index) => index > 400 && !ran.has(index)));
  });

  it('are those of the retry for items that were retried, of the first run for all others', async () => {
    const id = await submit(lines().join('\n'));
    await api.runAll(mixed);
    const before = await filesOf(id);
    const retry = await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/retry`, payload: {} });
    expect(retry.statusCode, retry.body).toBe(202);
    const again: number[] = [];
    await api.runAll((index) => {
      again.push(index);
      return answered(`second ${index}`);
    });
    const failed = upTo(ITEMS).filter((index) => index % 11 === 3 || index % 11 === 5);
    expect(again.sort((left, right) => left - right)).toEqual(failed);
    expect(await jobOf(id)).toMatchObject({ state: 'succeeded', succeeded: ITEMS, failed: 0 });
    const { results } = await resultsOf(id);
    expect(indexesOf(results)).toEqual(upTo(ITEMS));
    for (const index of [3, 5, 14, 4, 6]) {
      const word = failed.includes(index) ? 'second' : 'answer';
      expect(JSON.stringify(results[index])).toContain(`${word} ${index}`);
    }
    const [output, errors] = await filesOf(id);
    expect([output?.split('\n').length, errors]).toEqual([ITEMS + 1, '']);
    expect(before[0]?.split('\n').filter((line) => !output?.includes(line))).toEqual([]);
  });

  it('stay when the input is deleted, of which nothing is kept', async () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const part = (name: string, value: string) =>
      `--x\r\ncontent-disposition: form-data; ${name}\r\n\r\n${value}\r\n`;
    const payload = `${part('name="purpose"', 'batch')}${part('name="file"; filename="a"', lines().join('\n'))}--x--\r\n`;
    const upload = await api.fastify.inject({ method: 'POST', url: '/v1/files', headers, payload });
    const { id: fileId } = upload.json<{ id: string }>();
    const options = { file_id: fileId, model: 'm', endpoint: '/v1/chat/completions' };
    const { id } = (
      await api.fastify.inject({ method: 'POST', url: '/v1/jobs', payload: options })
    ).json<Job>();
    await api.planner.tick(id);
    await api.runShard(() => answered('x'));
    await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` });
    await api.finalizer.tick();
    expect((await api.blobKeys()).filter(isWork)).toHaveLength(1);
    await api.fastify.inject({ method: 'DELETE', url: `/v1/files/${fileId}` });
    expect((await api.blobKeys()).filter(isWork)).toEqual([]);
    const { results } = await resultsOf(id);
    expect(indexesOf(results)).toEqual(upTo(ITEMS));
    for (const { index, custom_id: customId } of results) expect(customId).toBe(`q-${index}`);
  });

  it('name the right items in the parts of bisected shards', async () => {
    const id = await submit(lines().join('\n'));
    for (let loss = 0; loss < 2; loss += 1) {
      const nowMs = api.nowMs();
      const [shard] = await api.ledger.takeOffers({ staleBeforeMs: nowMs + 1, limit: 1, nowMs });
      const claim = {
        shardId: shard?.id ?? '',
        epoch: shard?.epoch ?? 0,
        runnerId: 'r',
        leaseMs: 1_000,
        nowMs,
      };
      await api.ledger.claimShard(claim);
      api.advance(2_000);
      await api.ledger.expireLeases({ nowMs: api.nowMs(), limit: 10 });
    }
    expect(await api.ledger.listShards({ jobId: id, fromOrdinal: 0, toOrdinal: 1 })).toHaveLength(2);
    await api.runAll((index, line) => answered(`${line.custom_id} is ${index}`));
    const { results } = await resultsOf(id);
    for (const index of upTo(ITEMS))
      expect(JSON.stringify(results[index])).toContain(`q-${index} is ${index}`);
  });
});

describe('the planner', () => {
  it('puts items of one model together where models take turns', async () => {
    const text = upTo(40)
      .map((index) => chatLine({ id: `q-${index}`, model: `model-${index % 3}`, user: 'x' }))
      .join('\n');
    const id = await submit(text);
    const shards = await api.ledger.listShards({ jobId: id, fromOrdinal: 0, toOrdinal: 100 });
    expect(shards.map(({ model, count }) => [model, count])).toEqual([
      ['model-0', 14],
      ['model-1', 13],
      ['model-2', 13],
    ]);
    await api.runAll((index, line) => answered(`${line.custom_id} is ${index}`));
    const { results } = await resultsOf(id);
    for (const index of upTo(40)) expect(JSON.stringify(results[index])).toContain(`q-${index} is ${index}`);
  });

  it('lets jobs that gain nothing be ready at once, and writes nothing for them', async () => {
    const equal = upTo(600).map((index) => chatLine({ id: `q-${index}`, user: `question ${index}` }));
    const headers = { 'content-type': 'application/x-ndjson' };
    const url = '/v1/jobs?endpoint=/v1/chat/completions&model=m';
    for (const text of [equal.join('\n'), lines(300).join('\n')]) {
      const answer = await api.fastify.inject({ method: 'POST', url, headers, payload: text });
      expect(answer.json<Job>().phase).toBe('queued');
    }
    // The sample says that there may be something to gain, and a closer look that there is not.
    const grouped = lines().sort(
      (left, right) => (left.includes('group-0') ? -1 : 0) - (right.includes('group-0') ? -1 : 0),
    );
    const sorted = Map.groupBy(grouped, (line) => /group-\d/.exec(line)?.[0]);
    const text = [...sorted.values()]
      .flat()
      .map((line) => line.replace(/"max_tokens":\d+/, '"max_tokens":9'));
    const id = await submit(text.join('\n'));
    expect((await jobOf(id)).workBlobKey).toBeUndefined();
    expect((await api.blobKeys()).filter(isWork)).toEqual([]);
  });

  it('runs a job in input order when its plan cannot be stored', async () => {
    const put = api.blobs.put.bind(api.blobs);
    vi.spyOn(api.blobs, 'put').mockImplementation(async (params) => {
      if (isWork(params.key)) throw new Error('no room');
      return await put(params);
    });
    const id = await submit(lines().join('\n'));
    expect((await jobOf(id)).workBlobKey).toBeUndefined();
    await api.runAll();
    expect(indexesOf((await resultsOf(id)).results)).toEqual(upTo(ITEMS));
  });

  it('leaves nothing of a plan that came too late, and begins none while the process ends', async () => {
    vi.spyOn(api.ledger, 'planJob').mockResolvedValueOnce(false);
    const id = await submit(lines().join('\n'));
    expect((await jobOf(id)).state).toBe('validating');
    expect((await api.blobKeys()).filter(isWork)).toEqual([]);
    api.signals.emit('draining');
    expect(await api.planner.tick(id)).toBe(0);
    expect((await jobOf(id)).state).toBe('validating');
  });

  it('leaves a job to the planner that has claimed it, until that one is dead', async () => {
    vi.spyOn(api.ledger, 'planJob').mockRejectedValueOnce(new Error('the ledger is away'));
    const id = await submit(lines().join('\n'));
    await api.ledger.claimPlanning({
      jobId: id,
      owner: 'other',
      claimMs: 10_000,
      nowMs: api.nowMs() + 20_000,
    });
    expect(await api.planner.tick(id)).toBe(0);
    api.advance(40_000);
    expect(await api.planner.tick()).toBe(1);
    expect((await jobOf(id)).state).toBe('queued');
  });
});
