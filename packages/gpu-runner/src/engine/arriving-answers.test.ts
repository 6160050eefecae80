import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { monotonicClock } from '../clock.js';
import { ArrivingAnswers } from './arriving-answers.js';
import { EngineClient } from './client.js';

class Socket {
  paused = false;
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
}

test('beyond the room only the oldest answer is read on', () => {
  const arriving = new ArrivingAnswers(100);
  const [first, second, third] = [new Socket(), new Socket(), new Socket()];
  arriving.add(first, 40);
  arriving.add(second, 40);
  arriving.add(third, 40);
  arriving.add(first, 400);
  expect([first, second, third].map(({ paused }) => paused)).toEqual([false, false, true]);
  arriving.add(second, 10);
  expect(second.paused).toBe(true);
  arriving.end(first);
  expect([second, third].map(({ paused }) => paused)).toEqual([false, false]);
});

test('an answer that ends leaves one to be read, however much the others hold', () => {
  const arriving = new ArrivingAnswers(10);
  const [first, second, third] = [new Socket(), new Socket(), new Socket()];
  arriving.add(first, 5);
  arriving.add(second, 50);
  arriving.add(third, 50);
  arriving.end(first);
  expect([second.paused, third.paused]).toEqual([false, true]);
  arriving.end(second);
  expect(third.paused).toBe(false);
});

test('answers that had to wait for room come whole', async () => {
  const body = Buffer.alloc(3_000_000, 'x');
  const server = createServer((request, response) => request.resume().on('end', () => response.end(body)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const arriving = new ArrivingAnswers(1_000_000);
  const client = new EngineClient({ url, apiKey: null, connections: 8, clock: monotonicClock, arriving });
  const request = { path: '/', body: Buffer.from('{}'), requestId: 'req_1', timeoutMs: 30_000 };
  const replies = await Promise.all(Array.from({ length: 8 }, () => client.post(request).reply));
  for (const reply of replies)
    expect(reply.kind === 'answer' ? reply.body.length : reply.kind).toBe(body.length);
  await client.close();
  server.close();
});
