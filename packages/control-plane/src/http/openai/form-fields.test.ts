import type { Problem } from '@batch-infer/contracts/native';
import type { FileObject } from '@batch-infer/contracts/openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from '../api-conformance.js';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const LINE = '{"custom_id":"a","body":{"model":"m","messages":[{"role":"user","content":"hi"}]}}\n';
const part = (
  name: string,
  value: string,
  { filename, type }: { filename?: string; type?: string } = {},
): string => {
  const named = filename === undefined ? '' : `; filename="${filename}"`;
  const typed = type === undefined ? '' : `\r\ncontent-type: ${type}`;
  return `--x\r\ncontent-disposition: form-data; name="${name}"${named}${typed}\r\n\r\n${value}\r\n`;
};
const FILE = part('file', LINE, { filename: 'in.jsonl', type: 'application/octet-stream' });
const PURPOSE = part('purpose', 'batch');
const send = (parts: readonly string[], type = 'multipart/form-data; boundary=x', url = '/v1/files') =>
  api.fastify.inject({
    method: 'POST',
    url,
    headers: { 'content-type': type },
    payload: `${parts.join('')}--x--\r\n`,
  });

describe('the expiry of a file', () => {
  const json = '{"anchor":"created_at","seconds":7200}';
  it.each<[string, string[]]>([
    ['in brackets', [part('expires_after[anchor]', 'created_at'), part('expires_after[seconds]', '7200')]],
    ['in dots', [part('expires_after.anchor', 'created_at'), part('expires_after.seconds', '7200')]],
    ['as a part of JSON', [part('expires_after', json, { type: 'application/json' })]],
    [
      'as a part of JSON with a file name',
      [part('expires_after', json, { type: 'application/json', filename: 'blob' })],
    ],
    ['as JSON in a plain field', [part('expires_after', json)]],
  ])('is understood %s', async (_, parts) => {
    const answer = await send([PURPOSE, ...parts, FILE]);
    expect(answer.statusCode, answer.body).toBe(200);
    const file = answer.json<FileObject>();
    expect((file.expires_at ?? 0) - file.created_at).toBeGreaterThanOrEqual(7_200);
  });

  it.each<[string, string[]]>([
    ['as null', [part('expires_after', 'null')]],
    ['as nothing', [part('expires_after', '')]],
    [
      'as null in JSON',
      [part('expires_after', '{"anchor":null,"seconds":null}', { type: 'application/json' })],
    ],
  ])('is left out %s', async (_, parts) => {
    expect((await send([PURPOSE, ...parts, FILE])).json<FileObject>().expires_at).toBeNull();
  });

  it.each<[string, string[], string]>([
    ['is no object', [part('expires_after', '7200')], 'expires_after'],
    ['is text', [part('expires_after', 'in a day')], 'expires_after'],
    ['is empty', [part('expires_after', '{}')], 'expires_after'],
    ['has a field nobody knows', [part('expires_after', '{"days":1}')], 'expires_after.days'],
    ['lacks its anchor', [part('expires_after', '{"seconds":7200}')], 'expires_after.anchor'],
    ['is too short', [part('expires_after', '{"anchor":"created_at","seconds":1}')], 'expires_after.seconds'],
    [
      'comes in two forms',
      [part('expires_after', json), part('expires_after[seconds]', '7200')],
      'expires_after.seconds',
    ],
  ])('is refused when it %s', async (_, parts, param) => {
    const answer = await send([PURPOSE, ...parts, FILE]);
    expect([answer.statusCode, answer.json<Problem>().param], answer.body).toEqual([400, param]);
  });
});

describe('a form', () => {
  it.each<[string, string[], string]>([
    ['with a field nobody knows', [PURPOSE, part('expires', '1'), FILE], 'expires'],
    ['with a second file of another name', [PURPOSE, FILE, part('more', 'x', { filename: 'b' })], 'more'],
    ['with two files', [PURPOSE, FILE, FILE], 'file'],
    ['with a field twice', [PURPOSE, PURPOSE, FILE], 'purpose'],
    ['with an endless field', [part('purpose', 'x'.repeat(200_000)), FILE], 'purpose'],
    ['without the file', [PURPOSE], 'file'],
  ])('%s is refused by name, and leaves nothing behind', async (_, parts, param) => {
    const before = (await api.blobKeys()).length;
    const answer = await send(parts);
    expect([answer.statusCode, answer.json<Problem>().param], answer.body).toEqual([400, param]);
    expect((await api.blobKeys()).length).toBe(before);
  });

  it('with JSON that is none is refused', async () => {
    const answer = await send([PURPOSE, part('expires_after', '{', { type: 'application/json' }), FILE]);
    expect([answer.statusCode, answer.json<Problem>().code], answer.body).toEqual([400, 'invalid_parameter']);
  });

  it('without its boundary is told where that comes from', async () => {
    const answer = await send([PURPOSE, FILE], 'multipart/form-data');
    expect([answer.statusCode, answer.json<Problem>().param]).toEqual([400, 'content-type']);
    expect(answer.body).toContain('boundary');
  });

  it('that is none is told how to send one', async () => {
    const answer = await send(['purpose=batch'], 'application/x-www-form-urlencoded');
    expect(answer.statusCode).toBe(415);
    expect(answer.body).toContain('-F file=@in.jsonl');
  });
});
