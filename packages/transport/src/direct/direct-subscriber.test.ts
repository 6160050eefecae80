import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OfferSubscription } from '../port.js';
import { DirectSubscriber } from './direct-subscriber.js';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(
  answer: (response: ServerResponse, headers: NodeJS.Dict<string | string[]>) => void,
): Promise<string> {
  const server: Server = createServer((request, response) => {
    request.resume();
    answer(response, request.headers);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function subscribe(serverUrl: string, paused = false): Promise<OfferSubscription> {
  const subscriber = new DirectSubscriber({
    serverUrl,
    runnerId: 'runner-1',
    apiKey: 'secret',
    random: () => 0,
  });
  const subscription = await subscriber.subscribe({
    models: ['m'],
    handle: async () => ({ outcome: 'taken' }),
    paused,
  });
  cleanups.push(() => subscription.close());
  return subscription;
}

const empty = (response: ServerResponse) =>
  response.setHeader('content-type', 'application/json').end('{"offers":[]}');

describe('the direct subscriber', () => {
  it('names the protocol version and its key', async () => {
    let seen: NodeJS.Dict<string | string[]> = {};
    const url = await listen((response, headers) => {
      seen = headers;
      empty(response);
    });
    await subscribe(url);
    await vi.waitFor(() => expect(seen['x-batch-infer-protocol']).toBe('1'));
    expect(seen.authorization).toBe('Bearer secret');
  });

  it('says why no offers come, and recovers by itself', async () => {
    let refusing = true;
    const url = await listen((response) => {
      if (!refusing) return empty(response);
      response.statusCode = 400;
      return response.end(JSON.stringify({ detail: 'speak version 2' }));
    });
    const subscription = await subscribe(url);
    await vi.waitFor(() => expect(subscription.health().state).toBe('down'));
    expect(subscription.health().reason).toBe(`no offers from ${url}: 400 speak version 2`);
    refusing = false;
    await vi.waitFor(() => expect(subscription.health().state).toBe('up'), { timeout: 5_000 });
  });

  it('waits between polls of a server that is away', async () => {
    const url = await listen((response) => response.destroy());
    const subscription = await subscribe(url);
    await vi.waitFor(() => expect(subscription.health().state).toBe('down'));
  });

  it('drops its poll when paused, so that the offer goes to another runner', async () => {
    let dropped = false;
    let polling = false;
    const url = await listen((response) => {
      polling = true;
      response.on('close', () => {
        dropped = true;
      });
    });
    const subscription = await subscribe(url);
    await vi.waitFor(() => expect(polling).toBe(true));
    subscription.pause();
    await vi.waitFor(() => expect(dropped).toBe(true));
  });

  it('sends nothing before it is resumed when it starts paused', async () => {
    let polls = 0;
    const url = await listen((response) => {
      polls += 1;
      empty(response);
    });
    const subscription = await subscribe(url, true);
    expect(polls).toBe(0);
    subscription.resume();
    await vi.waitFor(() => expect(polls).toBeGreaterThan(0));
  });
});
