import { once } from 'node:events';
import { connect } from 'node:net';
import type { Job } from '@batch-infer/contracts/native';
import type { FileObject } from '@batch-infer/contracts/openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answered, openTestApi, type TestApi } from './api-conformance.js';

let api: TestApi;
let origin: string;
let fileUrl: string;
let smallUrl: string;
let largeUrl: string;
let openUrl: string;

const ITEMS = 300;
/** Over a megabyte of results. */
const ANSWER = 'é'.repeat(3_000);

beforeAll(async () => {
  api = await openTestApi();
  origin = await api.listen();
  const line = '{"custom_id":"a","body":{"model":"m","messages":[{"role":"user","content":"hi"}]}}\n';
  const form = new FormData();
  form.append('purpose', 'batch');
  form.append('file', new Blob([line]), 'in.jsonl');
  const uploaded = await fetch(`${origin}/v1/files`, { method: 'POST', body: form });
  fileUrl = `/v1/files/${((await uploaded.json()) as FileObject).id}/content`;
  const create = async (count: number): Promise<string> => {
    const items = Array.from({ length: count }, (_, at) => ({
      custom_id: `q-${at}`,
      body: { messages: [{}] },
    }));
    const answer = await api.fastify.inject({
      method: 'POST',
      url: '/v1/jobs',
      payload: { model: 'm', items },
    });
    return `/v1/jobs/${answer.json<Job>().id}/results`;
  };
  smallUrl = await create(2);
  largeUrl = await create(ITEMS);
  await api.runAll((index) => answered(`${ANSWER}${index}`));
  openUrl = await create(3);
  await api.runShard((index) => (index < 2 ? answered(`${index}`) : null));
});
afterAll(async () => {
  await api.close();
});

const get = (url: string, headers: Record<string, string> = {}) => fetch(`${origin}${url}`, { headers });
const textOf = async (url: string): Promise<string> => (await get(url)).text();

const WHAT: [string, () => string][] = [
  ['the content of a file', () => fileUrl],
  ['the results of a small job', () => smallUrl],
  ['the results of a large job', () => largeUrl],
];

describe.each(WHAT)('%s', (_, url) => {
  it('goes on where a client was', async () => {
    const whole = Buffer.from(await textOf(url()));
    const { size, etag } = { size: whole.length, etag: (await get(url())).headers.get('etag') ?? '' };
    expect(etag).toMatch(/^"[\w-]+"$/);
    for (const [range, from, to] of [
      ['bytes=0-9', 0, 10],
      ['bytes=10-', 10, size],
      [`bytes=${size - 5}-${size + 100}`, size - 5, size],
      ['bytes=-7', size - 7, size],
      [`bytes=-${size + 9}`, 0, size],
    ] as const) {
      const answer = await get(url(), { range, 'if-range': etag });
      expect(answer.status, range).toBe(206);
      expect(answer.headers.get('content-range')).toBe(`bytes ${from}-${to - 1}/${size}`);
      expect(answer.headers.get('content-length')).toBe(String(to - from));
      expect(answer.headers.get('etag')).toBe(etag);
      expect(Buffer.from(await answer.arrayBuffer()).equals(whole.subarray(from, to)), range).toBe(true);
    }
    const behind = await get(url(), { range: `bytes=${size}-` });
    expect([behind.status, behind.headers.get('content-range')]).toEqual([416, `bytes */${size}`]);
    expect(await behind.json()).toMatchObject({ code: 'range_not_satisfiable', param: 'range' });
  });

  it('is sent whole for a range that is not to be understood, or of other bytes', async () => {
    const whole = await textOf(url());
    for (const headers of [
      { range: 'bytes=0-1,4-5' },
      { range: 'lines=0-1' },
      { range: 'bytes=5-2' },
      { range: 'bytes=-' },
      { range: 'bytes=0-1', 'if-range': '"other"' },
      { range: 'bytes=0-1', 'if-range': 'Wed, 21 Oct 2015 07:28:00 GMT' },
    ]) {
      const answer = await get(url(), headers as Record<string, string>);
      expect([answer.status, (await answer.text()) === whole], JSON.stringify(headers)).toEqual([200, true]);
    }
  });

  it('is not sent again to who has it', async () => {
    const etag = (await get(url())).headers.get('etag') ?? '';
    for (const tags of [etag, `"other", W/${etag}`, '*']) {
      const answer = await get(url(), { 'if-none-match': tags });
      expect([answer.status, await answer.text()]).toEqual([304, '']);
    }
    expect((await get(url(), { 'if-none-match': '"other"' })).status).toBe(200);
  });

  it('has its length over HTTP/1.0', async () => {
    const whole = await textOf(url());
    const socket = connect(Number(new URL(origin).port), '127.0.0.1');
    socket.write(`GET ${url()} HTTP/1.0\r\nhost: x\r\n\r\n`);
    const pieces: Buffer[] = [];
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    await once(socket, 'close');
    const [head = '', body] = Buffer.concat(pieces)
      .toString('utf8')
      .split(/\r\n\r\n/, 2);
    expect(head.toLowerCase()).toContain(`content-length: ${Buffer.byteLength(whole)}`);
    expect(body === whole).toBe(true);
  });
});

it('results of a job that has not ended have no tag and no ranges: there will be more of them', async () => {
  const answer = await get(openUrl, { range: 'bytes=0-1' });
  expect(answer.status).toBe(200);
  expect([answer.headers.get('etag'), answer.headers.get('accept-ranges')]).toEqual([null, null]);
  expect((await answer.text()).split('\n')).toHaveLength(3);
});
