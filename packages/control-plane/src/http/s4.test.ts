import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { LIMITS } from '@batch-infer/contracts';
import type { Problem } from '@batch-infer/contracts/native';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';
import { registerBodyRules } from './body-rules.js';

/** S4: bodies without an end, without progress or with a bomb inside are refused within the cap and 64 kB. */
const WINDOW_MS = 400;
const ROOM = 64 * 1024;

let api: TestApi;
let url: URL;
/** What was read of the last request's connection. */
let lastRequest: IncomingMessage | null = null;

beforeAll(async () => {
  api = await openTestApi({}, (fastify) => {
    fastify.addHook('onRequest', async ({ raw }) => {
      lastRequest = raw;
    });
    registerBodyRules(fastify, { windowMs: WINDOW_MS, leastBytes: 64 });
  });
  url = new URL(await api.listen());
});
afterAll(async () => {
  await api.close();
});

interface Exchange {
  readonly socket: Socket;
  /** The answer so far. */
  text(): string;
  readonly closed: Promise<void>;
}

function open(): Exchange {
  const socket = connect(Number(url.port), url.hostname);
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += String(chunk);
  });
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return { socket, text: () => text, closed };
}

const head = (path: string, ...headers: string[]): string =>
  [`POST ${path} HTTP/1.1`, 'host: x', ...headers, '', ''].join('\r\n');

async function beginUpload(): Promise<string> {
  const begun = await api.fastify.inject({
    method: 'POST',
    url: '/v1/uploads',
    payload: { purpose: 'batch', filename: 'a', bytes: 10, mime_type: 'application/jsonl' },
  });
  return begun.json<{ id: string }>().id;
}

/** Sends chunks for ever; how much of it was taken when the connection ended, and the answer. */
async function sendEndlessly(
  path: string,
  type: string,
  { begin = '', more = 'a' }: { begin?: string; more?: string },
): Promise<{ read: number; answer: string }> {
  const { socket, text, closed } = open();
  const chunk = (body: string): string => `${body.length.toString(16)}\r\n${body}\r\n`;
  const block = chunk(more.repeat(32 * 1024));
  let ended = false;
  socket.once('close', () => {
    ended = true;
  });
  socket.write(
    head(path, `content-type: ${type}`, 'transfer-encoding: chunked') + chunk(begin === '' ? more : begin),
  );
  const send = (): void => {
    while (!ended && socket.writable) if (!socket.write(block)) return void socket.once('drain', send);
  };
  send();
  await closed;
  // Without what came in ahead and waits unread in the stream's own buffer.
  const read = (lastRequest?.socket.bytesRead ?? 0) - (lastRequest?.readableLength ?? 0);
  return { read, answer: text() };
}

describe('a body without an end', () => {
  const form = (disposition: string): string =>
    `--x\r\ncontent-disposition: form-data; ${disposition}\r\n\r\n`;
  const multipart = 'multipart/form-data; boundary=x';

  it('is refused at the limit of a JSON body', async () => {
    const { read, answer } = await sendEndlessly('/v1/jobs', 'application/json', { begin: '{"input":"' });
    expect(answer).toMatch(/^HTTP\/1\.1 413 .*body_too_large/s);
    expect(read).toBeLessThan(LIMITS.jsonBodyBytes + ROOM + chunkRoom(LIMITS.jsonBodyBytes));
  });

  it.each([
    ['in the bytes', 'name="data"; filename="a"'],
    ['in a field', 'name="note"'],
    ['in another file', 'name="other"; filename="a"'],
  ])('is refused at the limit of a part of an upload: %s', async (_, disposition) => {
    const { read, answer } = await sendEndlessly(`/v1/uploads/${await beginUpload()}/parts`, multipart, {
      begin: form(disposition),
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 .*file_too_large/s);
    expect(read).toBeLessThan(LIMITS.uploadPartBytes + ROOM + chunkRoom(LIMITS.uploadPartBytes));
    expect((await api.blobKeys()).filter((key) => key.includes('/uploads/'))).toEqual([]);
  });

  it.each([
    ['JSON', 'application/json', LIMITS.jsonBodyBytes],
    ['a form', multipart, LIMITS.uploadPartBytes + ROOM],
  ])(
    '%s is answered while it is sent, and the answer says that its connection ends',
    async (_, type, bytes) => {
      const path = type === multipart ? `/v1/uploads/${await beginUpload()}/parts` : '/v1/jobs';
      const { socket, text } = open();
      socket.write(head(path, `content-type: ${type}`, 'transfer-encoding: chunked'));
      const body = `${form('name="note"')}${'a'.repeat(bytes)}`;
      socket.write(`${body.length.toString(16)}\r\n${body}\r\n`);
      await expect.poll(text, { timeout: 5_000 }).toMatch(/^HTTP\/1\.1 413 .*\}\}$/s);
      expect(text()).toMatch(/^connection: close\r$/im);
      // Closed now, the system would throw the answer away together with what comes unread.
      expect(socket.readableEnded).toBe(false);
      socket.destroy();
    },
  );

  it.each([
    ['a message batch', '/v1/messages/batches', 'application/json', LIMITS.messageBatchBytes],
    ['a file', '/v1/files', multipart, LIMITS.fileBytes + ROOM],
    ['a part of an upload', '/v1/uploads/{id}/parts', multipart, LIMITS.uploadPartBytes + ROOM],
  ])('is refused before it is sent where its length says so: %s', async (_, path, type, bytes) => {
    const { socket, text } = open();
    const to = path.replace('{id}', await beginUpload());
    socket.write(head(to, `content-type: ${type}`, `content-length: ${bytes + 1}`));
    await expect.poll(text, { timeout: 5_000 }).toMatch(/^HTTP\/1\.1 413 .*_too_large/s);
    socket.destroy();
  });

  it('is refused unread where its length says so, and whoever sends all of it first still gets the answer', async () => {
    const { socket, text } = open();
    const bytes = 2 * LIMITS.jsonBodyBytes;
    socket.write(head('/v1/jobs', 'content-type: application/json', `content-length: ${bytes}`));
    await new Promise((resolve) => socket.write('a'.repeat(bytes), resolve));
    await expect.poll(text, { timeout: 5_000 }).toMatch(/^HTTP\/1\.1 413 .*body_too_large/s);
    socket.write('GET /v1/limits HTTP/1.1\r\nhost: x\r\n\r\n');
    await expect.poll(text, { timeout: 5_000 }).toMatch(/HTTP\/1\.1 200 /);
    socket.destroy();
  });

  it('is refused at the first line that is too long only when it has ended, but kept nowhere', async () => {
    const answer = await api.fastify.inject({
      method: 'POST',
      url: '/v1/jobs',
      headers: { 'content-type': 'application/x-ndjson' },
      payload: Buffer.alloc(LIMITS.lineBytes + 1, 'a'),
    });
    expect(answer.json<Problem>().errors).toMatchObject([{ code: 'line_too_long', line: 1 }]);
  });

  /** Lengths and line breaks of the chunks themselves, of 32 KiB and more each. */
  const chunkRoom = (bytes: number): number => Math.ceil(bytes / 32_768) * 8;
});

describe('a body that hardly moves', () => {
  it('is cut off, and its connection with it', async () => {
    const { socket, text, closed } = open();
    socket.write(head('/v1/jobs', 'content-type: application/json', 'content-length: 100000'));
    const dribble = setInterval(() => socket.write(' '), WINDOW_MS / 10);
    await closed;
    clearInterval(dribble);
    expect(text()).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('leaves nothing behind when it was a file', async () => {
    const before = await api.blobKeys();
    const { socket, closed } = open();
    socket.write(
      head(
        '/v1/jobs?endpoint=/v1/chat/completions',
        'content-type: application/x-ndjson',
        'content-length: 100000',
      ),
    );
    socket.write('{"body":');
    await closed;
    await expect.poll(() => api.blobKeys()).toEqual(before);
  });

  it('is let be while it moves, however long it takes', async () => {
    const { socket, text } = open();
    const body = `{"endpoint":"/v1/embeddings","input":{"model":"m","input":"${'a'.repeat(4_000)}"}}`;
    socket.write(head('/v1/jobs', 'content-type: application/json', `content-length: ${body.length}`));
    for (let at = 0; at < body.length; at += 100) {
      socket.write(body.slice(at, at + 100));
      await new Promise((resolve) => setTimeout(resolve, WINDOW_MS / 8));
    }
    await expect.poll(text, { timeout: 5_000 }).toMatch(/^HTTP\/1\.1 202 /);
    socket.destroy();
  });

  it('does not end a long poll', async () => {
    const created = await api.fastify.inject({
      method: 'POST',
      url: '/v1/jobs',
      payload: { endpoint: '/v1/embeddings', input: { model: 'm', input: 'a' } },
    });
    const { id } = created.json<{ id: string }>();
    const answer = await fetch(new URL(`/v1/jobs/${id}?wait=1`, url));
    expect(answer.status).toBe(200);
  });
});

describe('a compressed body', () => {
  it.each(['gzip', 'deflate', 'br', 'zstd', 'gzip, identity'])('is refused unread: %s', async (encoding) => {
    for (const [path, type] of [
      ['/v1/jobs', 'application/json'],
      ['/v1/jobs', 'application/x-ndjson'],
      ['/v1/messages/batches', 'application/json'],
      ['/v1/files', 'multipart/form-data; boundary=x'],
    ] as const) {
      const answer = await api.fastify.inject({
        method: 'POST',
        url: path,
        headers: { 'content-type': type, 'content-encoding': encoding },
        payload: gzipSync(Buffer.alloc(1_000_000)),
      });
      expect(answer.statusCode, answer.body).toBe(415);
      expect(answer.body).toContain('uncompressed');
    }
  });

  it('is taken when it is none', async () => {
    const answer = await api.fastify.inject({
      method: 'POST',
      url: '/v1/jobs',
      headers: { 'content-encoding': 'identity' },
      payload: { endpoint: '/v1/embeddings', input: { model: 'm', input: 'a' } },
    });
    expect(answer.statusCode).toBe(202);
  });
});
