import Anthropic from '@anthropic-ai/sdk';
import { newId } from '@batch-infer/contracts';
import type { Job, JobList } from '@batch-infer/contracts/native';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';

let api: TestApi;
let origin: string;
beforeAll(async () => {
  api = await openTestApi();
  origin = await api.listen();
});
afterAll(async () => {
  await api.close();
});

const LINE = '{"custom_id":"a","body":{"model":"m","messages":[{"role":"user","content":"hi"}]}}\n';
const ask = (method: 'GET' | 'POST' | 'DELETE', url: string, project = 'default', payload?: object) =>
  api.fastify.inject({
    method,
    url,
    headers: { 'x-test-project': project },
    ...(payload === undefined ? {} : { payload }),
  });

async function jobsOf(project: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const answer = await ask('POST', '/v1/jobs', project, {
      model: 'm',
      input: { messages: [{}] },
      metadata: { at: `${at}` },
    });
    expect(answer.statusCode, answer.body).toBe(202);
    ids.push(answer.json<Job>().id);
  }
  return ids.reverse();
}

describe('what is deleted while it is listed', () => {
  it.each(['asc', 'desc'] as const)(
    'does not end the list of files (%s), with an unmodified SDK',
    async (order) => {
      const project = `files-${order}`;
      const client = new OpenAI({
        baseURL: `${origin}/v1`,
        apiKey: 'none',
        defaultHeaders: { 'x-test-project': project },
      });
      const ids: string[] = [];
      for (let at = 0; at < 7; at += 1) {
        const file = new File([LINE.replace('"a"', `"${at}"`)], 'in.jsonl');
        ids.push((await client.files.create({ file, purpose: 'batch' })).id);
        api.advance(1);
      }
      const deleted: string[] = [];
      for await (const { id } of client.files.list({ limit: 3, order })) {
        deleted.push(id);
        await client.files.delete(id);
      }
      expect(deleted).toEqual(order === 'asc' ? ids : ids.reverse());
    },
  );

  it('does not end the list of message batches, in either direction, with an unmodified SDK', async () => {
    const client = new Anthropic({
      baseURL: origin,
      apiKey: 'none',
      defaultHeaders: { 'x-test-project': 'messages' },
    });
    const create = async (at: number): Promise<string> => {
      const params = { model: 'm', max_tokens: 1, messages: [{ role: 'user' as const, content: `${at}` }] };
      const { id } = await client.messages.batches.create({ requests: [{ custom_id: 'a', params }] });
      return id;
    };
    const ids: string[] = [];
    for (let at = 0; at < 6; at += 1) ids.unshift(await create(at));
    await api.runAll();
    const deleted: string[] = [];
    for await (const { id } of client.messages.batches.list({ limit: 2 })) {
      deleted.push(id);
      await client.messages.batches.delete(id);
    }
    expect(deleted).toEqual(ids);
    const later: string[] = [];
    for (let at = 6; at < 9; at += 1) later.unshift(await create(at));
    const behind = await client.messages.batches.list({ before_id: ids[0] ?? '', limit: 10 });
    expect(behind.data.map(({ id }) => id)).toEqual(later);
  });

  it('does not end the list of jobs and of batches', async () => {
    const [first = '', second = '', third = ''] = await jobsOf('jobs', 3);
    const gone = newId('job', api.nowMs() + 60_000);
    const page = (url: string) => ask('GET', url, 'jobs');
    for (const param of ['cursor', 'after']) {
      const { data } = (await page(`/v1/jobs?${param}=${gone}`)).json<JobList>();
      expect(data.map(({ id }) => id)).toEqual([first, second, third]);
    }
    expect((await page(`/v1/batches?after=${gone.replace('job', 'batch')}`)).json()).toMatchObject({
      data: [],
    });
  });

  it('does not end the list of webhook endpoints', async () => {
    const create = async (name: string): Promise<string> => {
      const url = 'https://example.com/';
      return (await ask('POST', '/v1/webhook_endpoints', 'hooks', { url, name })).json<{ id: string }>().id;
    };
    const [last, middle, first] = [await create('a'), await create('b'), await create('c')];
    await ask('DELETE', `/v1/webhook_endpoints/${middle}`, 'hooks');
    const answer = await ask('GET', `/v1/webhook_endpoints?after=${middle}&limit=1`, 'hooks');
    expect(answer.json<{ data: { id: string }[] }>().data.map(({ id }) => id)).toEqual([last]);
    expect(first).not.toBe(last);
  });
});

describe('a cursor that is no id of its list', () => {
  const id = newId('job').slice('job_'.length);
  it.each([
    [
      '/v1/files',
      'after',
      ['nonsense', `batch_${id}`, '', 'file-', `file-${id}0`, `file-${id.toUpperCase()}`],
    ],
    ['/v1/batches', 'after', ['nonsense', `file-${id}`, `job_${id}`, `msgbatch_${id}`]],
    ['/v1/jobs', 'cursor', ['nonsense', `file-${id}`, '3.17']],
    ['/v1/jobs', 'after', ['nonsense']],
    ['/v1/messages/batches', 'after_id', ['nonsense', `batch_${id}`]],
    ['/v1/messages/batches', 'before_id', ['nonsense', `batch_${id}`]],
    ['/v1/webhook_endpoints', 'after', ['nonsense', `whd_${id}`]],
    ['/v1/webhook_deliveries', 'after', ['nonsense', `whe_${id}`]],
  ])('is refused by name: %s?%s=', async (path, param, values) => {
    for (const value of values) {
      const answer = await ask('GET', `${path}?${param}=${value}`);
      expect(answer.statusCode, value).toBe(400);
      expect(answer.body).toContain('invalid_cursor');
      expect(answer.body).toContain(`${param} must be the id of a`);
    }
  });
});
