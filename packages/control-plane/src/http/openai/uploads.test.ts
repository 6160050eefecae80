import { createHash } from 'node:crypto';
import type { Problem } from '@batch-infer/contracts/native';
import type { UploadObject, UploadPartObject } from '@batch-infer/contracts/openai';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openTestApi, type TestApi } from '../api-conformance.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const line = (id: string) =>
  `${JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/embeddings', body: { model: 'm', input: 'x' } })}\n`;
const content = ['a', 'b', 'c'].map(line).join('');
const post = (url: string, payload: object = {}, headers: Record<string, string> = {}) =>
  api.fastify.inject({ method: 'POST', url, payload, headers });
const begin = async (more: object = {}) =>
  (
    await post('/v1/uploads', {
      bytes: content.length,
      filename: 'in.jsonl',
      mime_type: 'text/jsonl',
      purpose: 'batch',
      ...more,
    })
  ).json<UploadObject>();
const sendPart = (id: string, text: string, headers: Record<string, string> = {}, field = 'data') =>
  api.fastify.inject({
    method: 'POST',
    url: `/v1/uploads/${id}/parts`,
    headers: { 'content-type': 'multipart/form-data; boundary=x', ...headers },
    payload: `--x\r\ncontent-disposition: form-data; name="${field}"; filename="blob"\r\n\r\n${text}\r\n--x--\r\n`,
  });
const addPart = async (id: string, text: string) => (await sendPart(id, text)).json<UploadPartObject>().id;
const complete = (id: string, partIds: string[], more: object = {}) =>
  post(`/v1/uploads/${id}/complete`, { part_ids: partIds, ...more });
const md5 = (text: string) => createHash('md5').update(text).digest('hex');

describe('an upload in parts', () => {
  it('becomes a file whose parts stand in the order asked for, wherever lines were cut', async () => {
    const upload = await begin({ expires_after: { anchor: 'created_at', seconds: 3_600 } });
    expect(upload).toMatchObject({
      object: 'upload',
      status: 'pending',
      bytes: content.length,
      purpose: 'batch',
      file: null,
    });
    expect(upload.expires_at - upload.created_at).toBe(3_600);
    const texts = [content.slice(0, 10), content.slice(10, 100), content.slice(100)];
    const [first = '', second = '', third = ''] = (
      await Promise.all([2, 0, 1].map(async (at) => [at, await addPart(upload.id, texts[at] ?? '')] as const))
    )
      .sort(([left], [right]) => left - right)
      .map(([, id]) => id);
    const answer = await complete(upload.id, [first, second, third], { md5: md5(content) });
    expect(answer.statusCode, answer.body).toBe(200);
    const done = answer.json<UploadObject>();
    expect(done).toMatchObject({
      id: upload.id,
      status: 'completed',
      file: { object: 'file', filename: 'in.jsonl', bytes: content.length, purpose: 'batch' },
    });
    expect(done.file?.expires_at).toBe((done.file?.created_at ?? 0) + 3_600);
    const file = await api.fastify.inject({ method: 'GET', url: `/v1/files/${done.file?.id}/content` });
    expect(file.body).toBe(content);
    const batch = await post('/v1/batches', {
      input_file_id: done.file?.id,
      endpoint: '/v1/embeddings',
      completion_window: '24h',
    });
    expect(batch.json()).toMatchObject({ request_counts: { total: 3 } });
    // Only the file is left.
    expect(await api.blobKeys()).toHaveLength(1);
    expect((await complete(upload.id, [first, second, third])).json()).toEqual(done);
  });

  it('is judged line by line, and can be mended by another part', async () => {
    const bad = `${line('a')}nonsense\n`;
    const upload = await begin({ bytes: bad.length });
    const part = await addPart(upload.id, bad);
    const refused = await complete(upload.id, [part]);
    expect(refused.statusCode).toBe(400);
    expect(refused.json<Problem>()).toMatchObject({
      code: 'invalid_file',
      errors: [{ line: 2, code: 'invalid_json' }],
    });
    const good = await addPart(upload.id, `${line('a')}        \n`);
    expect((await complete(upload.id, [good])).json<UploadObject>().status).toBe('completed');
    expect(await api.blobKeys()).toHaveLength(1);
  });

  it('has the parts, the length and the sum that were promised', async () => {
    const upload = await begin();
    const part = await addPart(upload.id, content);
    const other = await begin();
    const foreign = await addPart(other.id, content);
    const half = await addPart(upload.id, content.slice(0, 50));
    for (const [partIds, more, param] of [
      [['part_unknown'], {}, 'part_ids'],
      [[foreign], {}, 'part_ids'],
      [[half], {}, 'part_ids'],
      [[part, half], {}, 'part_ids'],
      [[half, half], {}, 'part_ids'],
      [[], {}, 'part_ids'],
      [[part], { md5: md5('other') }, 'md5'],
      [[part], { md5: 'short' }, 'md5'],
    ] as const) {
      const answer = await complete(upload.id, [...partIds], more);
      expect([answer.statusCode, answer.json<Problem>().param]).toEqual([400, param]);
    }
    expect((await complete(upload.id, [part], { md5: md5(content).toUpperCase() })).statusCode).toBe(200);
  });

  it('can be cancelled, once or twice, and then takes nothing more', async () => {
    const upload = await begin();
    const part = await addPart(upload.id, content);
    for (let turn = 0; turn < 2; turn += 1)
      expect((await post(`/v1/uploads/${upload.id}/cancel`)).json()).toMatchObject({ status: 'cancelled' });
    expect(await api.blobKeys()).toEqual([]);
    for (const answer of [await sendPart(upload.id, content), await complete(upload.id, [part])])
      expect([answer.statusCode, answer.json<Problem>().code]).toEqual([400, 'upload_not_pending']);
    expect(await api.blobKeys()).toEqual([]);
  });

  it('cannot be cancelled when it is complete', async () => {
    const upload = await begin();
    await complete(upload.id, [await addPart(upload.id, content)]);
    expect((await post(`/v1/uploads/${upload.id}/cancel`)).json<Problem>().code).toBe('upload_not_pending');
  });

  it('expires after an hour, with its parts', async () => {
    const upload = await begin();
    const part = await addPart(upload.id, content);
    await api.retention.tick();
    expect(await api.blobKeys()).toHaveLength(1);
    api.advance(3_600_000);
    expect((await complete(upload.id, [part])).json<Problem>().detail).toContain('is expired');
    await api.retention.tick();
    expect(await api.blobKeys()).toEqual([]);
  });

  it('takes a part once when its answer was lost', async () => {
    const upload = await begin();
    const first = await sendPart(upload.id, content, { 'x-stainless-retry-count': '0' });
    const again = await sendPart(upload.id, content, { 'x-stainless-retry-count': '1' });
    expect(again.json()).toEqual(first.json());
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(await api.blobKeys()).toHaveLength(1);
  });

  it('is completed once when the process died halfway', async () => {
    const upload = await begin();
    const part = await addPart(upload.id, content);
    vi.spyOn(api.ledger, 'endUpload').mockRejectedValueOnce(new Error('killed'));
    expect((await complete(upload.id, [part])).statusCode).toBe(500);
    const done = (await complete(upload.id, [part])).json<UploadObject>();
    expect(done.status).toBe('completed');
    expect((await api.fastify.inject({ method: 'GET', url: '/v1/files' })).json().data).toHaveLength(1);
    expect(await api.blobKeys()).toHaveLength(1);
  });

  it.each<[string, object, string]>([
    ['no bytes', { bytes: 0 }, 'bytes'],
    ['more than a file may have', { bytes: 9 * 2 ** 30 }, 'bytes'],
    ['an unknown purpose', { purpose: 'fun' }, 'purpose'],
    ['no filename', { filename: undefined }, 'filename'],
    [
      'an expiry of a minute',
      { expires_after: { anchor: 'created_at', seconds: 60 } },
      'expires_after.seconds',
    ],
  ])('is refused with %s', async (_, more, param) => {
    const answer = await post('/v1/uploads', {
      bytes: 9,
      filename: 'f',
      mime_type: 't',
      purpose: 'batch',
      ...more,
    });
    expect([answer.statusCode, answer.json<Problem>().param]).toEqual([400, param]);
  });

  it('is nothing to other projects, and no path', async () => {
    const upload = await begin();
    const others = { 'x-test-project': 'others' };
    expect((await sendPart(upload.id, content, others)).statusCode).toBe(404);
    expect((await post(`/v1/uploads/${upload.id}/cancel`, {}, others)).statusCode).toBe(404);
    expect((await sendPart('..%2f..%2fx', content)).statusCode).toBe(404);
    expect((await complete('upload_x', ['p'])).statusCode).toBe(404);
    expect((await sendPart(upload.id, content, {}, 'file')).json<Problem>().param).toBe('data');
    expect(await api.blobKeys()).toEqual([]);
  });

  it('does not grow without end', async () => {
    const upload = await begin({ bytes: 1 });
    const addUploadPart = vi.spyOn(api.ledger, 'addUploadPart');
    addUploadPart.mockResolvedValueOnce({ outcome: 'too_much' });
    const answer = await sendPart(upload.id, content);
    expect([answer.statusCode, answer.json<Problem>().code]).toEqual([413, 'file_too_large']);
    expect(addUploadPart.mock.calls[0]?.[0].maxBytes).toBe(2 + 64 * 1024 * 1024);
    expect(await api.blobKeys()).toEqual([]);
  });
});
