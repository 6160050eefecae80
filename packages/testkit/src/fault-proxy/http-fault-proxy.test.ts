import { createServer } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { startEngineSim } from '../engine-sim/server.js';
import { type FaultProxy, startFaultProxy } from './http-fault-proxy.js';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(serviceTimeMs = 0) {
  const sim = await startEngineSim({ serviceTimeMs });
  const proxy = await startFaultProxy({ target: sim.url });
  cleanups.push(
    () => sim.close(),
    () => proxy.close(),
  );
  return { sim, proxy };
}

function create(proxy: FaultProxy, text = 'x', signal?: AbortSignal): Promise<Response> {
  return fetch(`${proxy.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': 'abc' },
    body: JSON.stringify({ model: 'sim-model', messages: [{ role: 'user', content: text }] }),
    ...(signal === undefined ? {} : { signal }),
  });
}

describe('startFaultProxy', () => {
  it('passes requests and answers through, headers included', async () => {
    const { sim, proxy } = await start();
    const answer = await create(proxy);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-request-id')).toBe('abc');
    expect(await answer.json()).toMatchObject({ id: 'chatcmpl-abc' });
    expect((await fetch(`${proxy.url}/nowhere`)).status).toBe(404);
    expect(sim.stats().completed).toBe(1);
    expect(proxy.counters()).toMatchObject({ requests: 2, answered: 2, cutResponses: 0 });
  });

  it('passes chunked bodies through in both directions', async () => {
    const mirror = createServer((request, response) => request.pipe(response));
    await new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve));
    const address = mirror.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const proxy = await startFaultProxy({ target: `http://127.0.0.1:${port}` });
    cleanups.push(
      () => new Promise((resolve) => mirror.close(resolve)),
      () => proxy.close(),
    );
    const body = new Blob(['first ', 'second ', 'x'.repeat(300_000)]).stream();
    const init = { method: 'PUT', body, duplex: 'half' } as const;
    const text = await (await fetch(`${proxy.url}/mirror`, init)).text();
    expect(text).toHaveLength(300_013);
  });

  it.each(['reset', 'close'] as const)('loses the answer of the next matching requests (%s)', async (end) => {
    const { sim, proxy } = await start();
    proxy.cutResponseAfterUpstreamAnswered({ count: 2, method: 'POST', pathPrefix: '/v1/chat', end });
    expect((await fetch(`${proxy.url}/health`)).status).toBe(200);
    await expect(create(proxy)).rejects.toThrow();
    await expect(create(proxy)).rejects.toThrow();
    expect((await create(proxy)).status).toBe(200);
    expect(sim.stats().completed).toBe(3);
    expect(proxy.counters()).toMatchObject({ requests: 4, answered: 4, cutResponses: 2 });
  });

  it('carries a cut request to its end even when its client goes away first', async () => {
    const { sim, proxy } = await start();
    proxy.cutResponseAfterUpstreamAnswered();
    sim.freeze();
    const leaving = new AbortController();
    const left = create(proxy, 'x', leaving.signal);
    await vi.waitFor(() => expect(proxy.counters().requests).toBe(1));
    leaving.abort();
    await expect(left).rejects.toThrow();
    sim.thaw();
    await vi.waitFor(() => expect(sim.stats().completed).toBe(1));
  });

  it('tells the target when a client goes away', async () => {
    const { sim, proxy } = await start(3_600_000);
    const leaving = new AbortController();
    const left = create(proxy, 'x', leaving.signal);
    await vi.waitFor(() => expect(sim.stats().running).toBe(1));
    leaving.abort();
    await expect(left).rejects.toThrow();
    await vi.waitFor(() => expect(sim.stats().aborted).toBe(1));
  });

  it('loses a request before the target hears of it', async () => {
    const { sim, proxy } = await start();
    proxy.cutRequestBeforeUpstream();
    await expect(create(proxy)).rejects.toThrow();
    expect(sim.stats().received).toBe(0);
    expect((await create(proxy)).status).toBe(200);
    expect(proxy.counters().cutRequests).toBe(1);
  });

  it('drops open connections once', async () => {
    const { sim, proxy } = await start(3_600_000);
    const lost = create(proxy).catch((error: unknown) => error);
    await vi.waitFor(() => expect(sim.stats().running).toBe(1));
    proxy.dropConnections();
    expect(await lost).toBeInstanceOf(Error);
    await vi.waitFor(() => expect(sim.stats().aborted).toBe(1));
    expect(proxy.counters().droppedConnections).toBe(1);
    expect((await fetch(`${proxy.url}/health`)).status).toBe(200);
  });

  it('refuses connections until it passes again, on the same port', async () => {
    const { proxy } = await start();
    const { url } = proxy;
    await proxy.refuse();
    await expect(create(proxy)).rejects.toThrow();
    await proxy.pass();
    expect(proxy.url).toBe(url);
    expect((await create(proxy)).status).toBe(200);
  });

  it('delays requests', async () => {
    const { sim, proxy } = await start();
    proxy.setLatencyMs(3_600_000);
    const leaving = new AbortController();
    const left = create(proxy, 'x', leaving.signal);
    await vi.waitFor(() => expect(proxy.counters().requests).toBe(1));
    expect(sim.stats().received).toBe(0);
    leaving.abort();
    await expect(left).rejects.toThrow();
    proxy.setLatencyMs(1);
    expect((await create(proxy)).status).toBe(200);
  });

  it('resets the client when the target is down, and can be pointed elsewhere', async () => {
    const { sim, proxy } = await start();
    await sim.kill();
    await expect(create(proxy)).rejects.toThrow();
    const other = await startEngineSim({ serviceTimeMs: 0 });
    cleanups.push(() => other.close());
    proxy.setTarget(other.url);
    expect((await create(proxy)).status).toBe(200);
  });
});
