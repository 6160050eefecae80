import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Job, Problem } from '@batch-infer/contracts/native';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { JobWatch } from '../../events/job-watch.js';
import { answered, openTestApi, type TestApi } from '../api-conformance.js';

/** What only shows on real connections. */
let api: TestApi;
let origin: URL;
beforeEach(async () => {
  api = await openTestApi();
  origin = new URL(await api.listen());
});
afterEach(async () => {
  await api.close();
});

const ndjson = { 'content-type': 'application/x-ndjson' };
const items = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ custom_id: `q-${index}`, body: { input: 'x' } }));
const submit = async (count: number): Promise<Job> => {
  const body = JSON.stringify({ model: 'm', endpoint: '/v1/embeddings', items: items(count) });
  const answer = await fetch(new URL('/v1/jobs', origin), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  return (await answer.json()) as Job;
};
const open = (path: string, headers: Record<string, string>) =>
  httpRequest({ host: origin.hostname, port: origin.port, path, method: 'POST', headers });

describe('a create whose client is gone', () => {
  it('is not committed, and leaves nothing', async () => {
    const put = api.blobs.put.bind(api.blobs);
    const request = open('/v1/jobs', { 'content-type': 'application/json' });
    request.on('error', () => undefined);
    const closed = Promise.withResolvers<void>();
    api.fastify.server.once('connection', (socket) => socket.once('close', () => closed.resolve()));
    // The client leaves while its input is being stored.
    const stored = vi.spyOn(api.blobs, 'put').mockImplementationOnce(async (params) => {
      request.destroy();
      await closed.promise;
      return await put(params);
    });
    const create = vi.spyOn(api.ledger, 'createJob');
    const discard = vi.spyOn(api.blobs, 'delete');
    request.end(JSON.stringify({ model: 'm', endpoint: '/v1/embeddings', input: { input: 'x' } }));
    await vi.waitFor(() => expect(discard).toHaveBeenCalled(), { timeout: 10_000 });
    await discard.mock.results[0]?.value;
    expect(stored).toHaveBeenCalled();
    expect(create).not.toHaveBeenCalled();
    expect(await api.blobKeys()).toEqual([]);
  });
});

describe('a stream of results that breaks', () => {
  it('is cut, never ended as if it were whole', async () => {
    const { id } = await submit(600);
    // Too much to be gathered before the first byte, as small results are.
    await api.runAll(() => answered('x'.repeat(4_000)));
    const get = api.blobs.get.bind(api.blobs);
    let reads = 0;
    vi.spyOn(api.blobs, 'get').mockImplementation(async (params) => {
      reads += 1;
      if (reads > 2) throw new Error('store failed');
      return await get(params);
    });
    const answer = await fetch(new URL(`/v1/jobs/${id}/results`, origin));
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
  });
});

describe('an upload that is refused', () => {
  const lineOf = (index: number) =>
    `${JSON.stringify({ custom_id: `q-${index}`, body: { model: 'm', input: 'x'.repeat(500) } })}\n`;

  it('for its lines: a client that is still sending gets to read why', async () => {
    const encoder = new TextEncoder();
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        controller.enqueue(encoder.encode(sent === 0 ? 'nonsense\n' : lineOf(sent)));
        sent += 1;
        if (sent > 20_000) controller.close();
      },
    });
    const init = { method: 'POST', headers: ndjson, body, duplex: 'half' } as const;
    const answer = await fetch(new URL('/v1/jobs?endpoint=/v1/embeddings', origin), init);
    expect(answer.status).toBe(400);
    expect(((await answer.json()) as Problem).errors[0]).toMatchObject({ line: 1, code: 'invalid_json' });
  });

  it('for its options: before the body was read, and an endless body is cut', async () => {
    const request = open('/v1/jobs?priority=odd', ndjson);
    const cut = new Promise<void>((resolve) => request.on('error', () => resolve()).on('close', resolve));
    const response = new Promise<IncomingMessage>((resolve) => request.on('response', resolve));
    let sending = true;
    const send = (): void => {
      while (sending && request.write(lineOf(1))) if (request.destroyed) return;
      if (sending) request.once('drain', send);
    };
    send();
    const answer = await response;
    answer.resume();
    expect(answer.statusCode).toBe(400);
    await cut;
    sending = false;
    expect(request.destroyed).toBe(true);
  });
});

describe('a long poll', () => {
  const watchers = () => api.app.get(JobWatch, { strict: false }).size;

  it('is woken by the end of the job', async () => {
    const { id } = await submit(1);
    await api.runShard(() => answered('x'));
    const waiting = fetch(new URL(`/v1/jobs/${id}?wait=60`, origin));
    await expect.poll(watchers).toBe(1);
    await api.finalizer.tick();
    expect(((await (await waiting).json()) as Job).status).toBe('succeeded');
  });

  it('answers at once when the process is about to end', async () => {
    const { id } = await submit(1);
    const waiting = fetch(new URL(`/v1/jobs/${id}?wait=60`, origin));
    await expect.poll(watchers).toBe(1);
    api.signals.emit('draining');
    expect(((await (await waiting).json()) as Job).status).toBe('queued');
    expect(watchers()).toBe(0);
  });

  it('leaves nothing behind when its client goes away', async () => {
    const { id } = await submit(1);
    const leaving = new AbortController();
    const waiting = fetch(new URL(`/v1/jobs/${id}?wait=60`, origin), { signal: leaving.signal });
    await expect.poll(watchers).toBe(1);
    leaving.abort();
    await expect(waiting).rejects.toThrow();
    await expect.poll(watchers).toBe(0);
  });
});
