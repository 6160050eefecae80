import { expect, it } from 'vitest';
import { FakeServer, sendJson, wireJob } from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';

const CHUNK_BYTES = 64 * 1024;
const CHUNKS = 3_200;

it('an upload of 200 MB never stands in memory', async () => {
  let received = 0;
  await using server = await FakeServer.start(
    (_request, response) => sendJson(response, 202, wireJob()),
    (chunk) => {
      received += chunk.length;
    },
  );
  const before = process.memoryUsage().arrayBuffers;
  let peak = 0;
  async function* lines() {
    for (let index = 0; index < CHUNKS; index += 1) {
      peak = Math.max(peak, process.memoryUsage().arrayBuffers);
      yield new Uint8Array(CHUNK_BYTES);
    }
  }
  await new BatchInfer({ baseUrl: server.url }).jobs.submitFile(lines());
  expect(received).toBe(CHUNKS * CHUNK_BYTES);
  expect(peak - before).toBeLessThan(100 * 1024 * 1024);
});
