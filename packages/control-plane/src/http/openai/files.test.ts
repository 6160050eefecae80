import { request as httpRequest } from 'node:http';
import type { Problem } from '@batch-infer/contracts/native';
import type { Batch, FileObject } from '@batch-infer/contracts/openai';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Retention } from '../../files/retention.js';
import { StorageFullError } from '../../ports/blobs.js';
import { openTestApi, type TestApi } from '../api-conformance.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const line = (id: string) =>
  `${JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/embeddings', body: { model: 'm', input: 'canary' } })}\n`;
const field = (name: string, value: string) =>
  `--x\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
const filePart = (text: string, filename: string | null = 'in.jsonl') =>
  `--x\r\ncontent-disposition: form-data; name="file"${filename === null ? '' : `; filename="${filename}"`}\r\ncontent-type: application/octet-stream\r\n\r\n${text}\r\n`;
const upload = (parts: readonly string[], headers: Record<string, string> = {}) =>
  api.fastify.inject({
    method: 'POST',
    url: '/v1/files',
    headers: { 'content-type': 'multipart/form-data; boundary=x', ...headers },
    payload: `${parts.join('')}--x--\r\n`,
  });
const get = (url: string) => api.fastify.inject({ method: 'GET', url });

describe('an upload', () => {
  it('is read in either order of its parts', async () => {
    const answers = [
      await upload([filePart(line('a')), field('purpose', 'batch')]),
      await upload([field('purpose', 'batch'), filePart(line('a'), 'unknown_file')]),
      await upload([field('purpose', 'batch'), filePart(line('a'), null)]),
    ];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200]);
    expect(answers.map((answer) => answer.json<FileObject>().filename)).toEqual([
      'in.jsonl',
      'unknown_file',
      'unknown_file',
    ]);
  });

  it('loses folders and control characters of its name, and comes back as an attachment', async () => {
    const file = (
      await upload([field('purpose', 'batch'), filePart(line('a'), '../../etc/"é%22.jsonl')])
    ).json<FileObject>();
    expect(file.filename).not.toContain('/');
    const content = await get(`/v1/files/${file.id}/content`);
    expect(content.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(line('a').length),
    });
    expect(content.headers['content-disposition']).toMatch(
      /^attachment; filename="[\x20-\x7e]+"; filename\*=UTF-8''/,
    );
    expect(content.body).toBe(line('a'));
  });

  it.each([
    ['no file', [field('purpose', 'batch')], 'missing_parameter', 'file'],
    ['no purpose', [filePart(line('a'))], 'missing_parameter', 'purpose'],
    ['an unknown purpose', [filePart(line('a')), field('purpose', 'fun')], 'invalid_parameter', 'purpose'],
    ['a bad line', [filePart(`${line('a')}nonsense`), field('purpose', 'batch')], 'invalid_file', null],
    ['no requests', [filePart('\n\n'), field('purpose', 'batch')], 'empty_file', null],
    [
      'a short expiry',
      [
        filePart(line('a')),
        field('purpose', 'batch'),
        field('expires_after[anchor]', 'created_at'),
        field('expires_after[seconds]', '5'),
      ],
      'invalid_parameter',
      'expires_after.seconds',
    ],
    [
      'an odd anchor',
      [
        filePart(line('a')),
        field('purpose', 'batch'),
        field('expires_after[anchor]', 'x'),
        field('expires_after[seconds]', '3600'),
      ],
      'invalid_parameter',
      'expires_after.anchor',
    ],
  ])('with %s is refused, and nothing stays', async (_, parts, code, param) => {
    const answer = await upload(parts);
    expect([answer.statusCode, answer.json<Problem>().code, answer.json<Problem>().param]).toEqual([
      400,
      code,
      param,
    ]);
    expect(answer.body).not.toContain('canary');
    expect(await api.blobKeys()).toEqual([]);
  });

  it('with a file that has no filename is told so', async () => {
    const answer = await upload([field('file', line('a')), field('purpose', 'batch')]);
    expect([answer.statusCode, answer.json<Problem>().param]).toEqual([400, 'file']);
    expect(answer.json<Problem>().detail).toContain('has no filename');
  });

  it.each([
    ['behind its file', `${filePart(line('a'))}--x\r\ncontent-disp`],
    ['inside its file', filePart(line('a')).slice(0, -10)],
  ])('that breaks off %s leaves nothing', async (_, payload) => {
    const answer = await api.fastify.inject({
      method: 'POST',
      url: '/v1/files',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
      payload,
    });
    expect(answer.statusCode).toBe(400);
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(await api.blobKeys()).toEqual([]);
  });

  it('that is no form is told so', async () => {
    const answer = await api.fastify.inject({
      method: 'POST',
      url: '/v1/files',
      payload: { purpose: 'batch' },
    });
    expect([answer.statusCode, answer.json<Problem>().code]).toEqual([415, 'unsupported_media_type']);
  });

  it('sent twice with one key is one file', async () => {
    const headers = { 'idempotency-key': 'k' };
    const first = await upload([field('purpose', 'batch'), filePart(line('a'))], headers);
    const again = await upload([filePart(line('a')), field('purpose', 'batch')], headers);
    const other = await upload([filePart(line('b')), field('purpose', 'batch')], headers);
    expect(again.json<FileObject>().id).toBe(first.json<FileObject>().id);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(other.statusCode).toBe(422);
    expect(await api.blobKeys()).toHaveLength(1);
  });

  it('that finds the storage full is read to its end and told so', async () => {
    vi.spyOn(api.blobs, 'put').mockRejectedValue(new StorageFullError('no room'));
    const answer = await upload([filePart(line('a').repeat(1_000)), field('purpose', 'batch')]);
    expect([answer.statusCode, answer.json<Problem>().code, answer.headers['x-should-retry']]).toEqual([
      507,
      'storage_full',
      'false',
    ]);
  });

  it('whose client goes away midway leaves nothing', async () => {
    const origin = new URL(await api.listen());
    const request = httpRequest({
      host: origin.hostname,
      port: origin.port,
      path: '/v1/files',
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
    });
    request.on('error', () => undefined);
    request.write(`${field('purpose', 'batch')}${filePart(line('a').repeat(5_000)).slice(0, -2)}`);
    const put = vi.spyOn(api.blobs, 'put');
    await vi.waitFor(() => expect(put).toHaveBeenCalled(), { timeout: 5_000 });
    request.destroy();
    await vi.waitFor(async () => expect((await put.mock.settledResults[0])?.type).toBe('rejected'), {
      timeout: 5_000,
    });
    expect(await api.blobKeys()).toEqual([]);
    expect((await get('/v1/files')).json<{ data: unknown[] }>().data).toEqual([]);
  });
});

describe('files', () => {
  it('are listed in pages, in both orders, by purpose', async () => {
    const ids: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      ids.push((await upload([field('purpose', 'batch'), filePart(line(name))])).json<FileObject>().id);
      api.advance(5);
    }
    const list = async (query: string) =>
      (await get(`/v1/files?${query}`)).json<{ data: FileObject[]; has_more: boolean; last_id: string }>();
    const page = await list('limit=2&order=asc');
    expect([page.data.map(({ id }) => id), page.has_more, page.last_id]).toEqual([
      ids.slice(0, 2),
      true,
      ids[1],
    ]);
    expect((await list(`limit=2&order=asc&after=${page.last_id}`)).data.map(({ id }) => id)).toEqual([
      ids[2],
    ]);
    expect((await list('purpose=user_data')).data).toEqual([]);
    expect((await list('')).data.map(({ id }) => id)).toEqual([...ids].reverse());
    expect((await get('/v1/files?limit=0')).statusCode).toBe(400);
  });

  it('are listed whole where no limit is given: not every client asks for a second page', async () => {
    for (let index = 0; index < 101; index += 1)
      await upload([field('purpose', 'user_data'), filePart(`${index}`)]);
    const { data, has_more } = (await get('/v1/files')).json<{ data: FileObject[]; has_more: boolean }>();
    expect([data.length, has_more]).toEqual([101, false]);
    expect((await get('/v1/files?limit=10000')).json<{ data: FileObject[] }>().data).toHaveLength(101);
    expect((await get('/v1/files?limit=10001')).json()).toMatchObject({
      detail: 'limit must be a whole number from 1 to 10000.',
    });
  });

  it('go when their time is over', async () => {
    const parts = [
      field('purpose', 'batch'),
      filePart(line('a')),
      field('expires_after[anchor]', 'created_at'),
      field('expires_after[seconds]', '3600'),
    ];
    const file = (await upload(parts)).json<FileObject>();
    expect(file.expires_at).toBe(file.created_at + 3_600);
    const retention = api.app.get(Retention, { strict: false });
    expect(await retention.tick()).toBe(0);
    api.advance(3_601_000);
    expect(await retention.tick()).toBe(1);
    expect((await get(`/v1/files/${file.id}`)).statusCode).toBe(404);
    expect(await api.blobKeys()).toEqual([]);
  });

  it('and batches take an empty body that is called JSON', async () => {
    const file = (await upload([field('purpose', 'batch'), filePart(line('a'))])).json<FileObject>();
    const headers = { 'content-type': 'application/json' };
    const create = { input_file_id: file.id, endpoint: '/v1/embeddings', completion_window: '24h' };
    const batch = (
      await api.fastify.inject({ method: 'POST', url: '/v1/batches', payload: create })
    ).json<Batch>();
    const cancel = await api.fastify.inject({
      method: 'POST',
      url: `/v1/batches/${batch.id}/cancel`,
      headers,
    });
    expect(cancel.statusCode, cancel.body).toBe(200);
    await api.finalizer.tick();
    const deleted = await api.fastify.inject({ method: 'DELETE', url: `/v1/files/${file.id}`, headers });
    expect(deleted.statusCode, deleted.body).toBe(200);
  });

  it('of a job that brought its own input are shown nowhere', async () => {
    const payload = { model: 'm', endpoint: '/v1/embeddings', input: { input: 'x' } };
    await api.fastify.inject({ method: 'POST', url: '/v1/jobs', payload });
    expect((await get('/v1/files')).json<{ data: unknown[] }>().data).toEqual([]);
  });
});
