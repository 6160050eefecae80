import { describe, expect, it } from 'vitest';
import {
  endedJob,
  FakeServer,
  failedLine,
  resultLine,
  sendJson,
  wireJob,
} from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';
import { ConnectionError, JobFailedError, WaitTimeoutError } from './errors.js';
import type { JobHandle } from './job-handle.js';
import type { ItemResult } from './types.js';

const running = wireJob({ status: 'running', phase: 'running' });
const ndjson = { 'content-type': 'application/x-ndjson' };
const handleOf = (server: FakeServer, options = {}): JobHandle =>
  new BatchInfer({ baseUrl: server.url, ...options }).jobs.attach('job_1');

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('wait', () => {
  it('polls long until the job has ended, and reports progress on the way', async () => {
    await using server = await FakeServer.start((_request, response, count) => {
      const progress = { items_per_second: 8.4, output_tokens_per_second: 3100, eta_seconds: 173 };
      const counts = { total: 5, queued: 1, running: 1, succeeded: 2, failed: 1, cancelled: 0, expired: 0 };
      sendJson(response, 200, count === 1 ? { ...running, progress, counts } : endedJob(5));
    });
    const seen: unknown[] = [];
    const job = await handleOf(server).wait({ onProgress: ({ job: _job, ...rest }) => seen.push(rest) });
    expect(job.status).toBe('succeeded');
    expect(server.requests.map(({ query }) => query.get('wait'))).toEqual([null, '1']);
    expect(seen[0]).toEqual({
      completed: 3,
      failed: 1,
      total: 5,
      itemsPerSecond: 8.4,
      tokensPerSecond: 3100,
      etaSeconds: 173,
    });
  });

  it('without progress holds each poll for 30 seconds', async () => {
    await using server = await FakeServer.start((_request, response, count) =>
      sendJson(response, 200, count === 1 ? running : endedJob()),
    );
    await handleOf(server).wait();
    expect(server.requests[1]?.query.get('wait')).toBe('30');
  });

  it.each(['failed', 'cancelled', 'expired'] as const)(
    'throws for a job that is %s, unless told not to',
    async (status) => {
      const counts = { total: 2, queued: 0, running: 0, succeeded: 1, failed: 1, cancelled: 0, expired: 0 };
      const group = {
        code: 'engine_error',
        message: 'It broke',
        count: 1,
        sample: { index: 0, custom_id: 'a' },
      };
      await using server = await FakeServer.start((_request, response) =>
        sendJson(response, 200, wireJob({ status, phase: status, counts, errors: [group] })),
      );
      const handle = handleOf(server);
      const error = await handle.wait().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(JobFailedError);
      expect(error).toMatchObject({
        message: `Job job_1 ended as ${status}: 1 of 2 items succeeded; 1 × engine_error: It broke`,
      });
      expect((await handle.wait({ onFailure: 'return' })).status).toBe(status);
    },
  );

  it('gives up after timeoutMs and leaves the job alone', async () => {
    await using server = await FakeServer.start((_request, response) => sendJson(response, 200, running));
    await expect(handleOf(server).wait({ timeoutMs: 40 })).rejects.toBeInstanceOf(WaitTimeoutError);
    expect(server.requests.every(({ method }) => method === 'GET')).toBe(true);
  });

  it('stops with the signal and leaves the job alone', async () => {
    const controller = new AbortController();
    await using server = await FakeServer.start((_request, response, count) => {
      if (count === 1) sendJson(response, 200, running);
      else controller.abort(new Error('enough'));
    });
    await expect(handleOf(server).wait({ signal: controller.signal })).rejects.toThrow('enough');
    expect(server.requests.every(({ method }) => method === 'GET')).toBe(true);
  });

  it('survives a server that goes away and comes back', async () => {
    await using server = await FakeServer.start((_request, response, count) => {
      if (count === 2) response.destroy();
      else sendJson(response, 200, count === 1 ? running : endedJob());
    });
    expect((await handleOf(server).wait()).status).toBe('succeeded');
  });
});

describe('results', () => {
  it('says whose answer an item took over', async () => {
    await using server = await FakeServer.start((_request, response) => {
      response
        .writeHead(200, ndjson)
        .end(resultLine(0, { attempts: 0, reused_from: 'job_0' }) + resultLine(1));
    });
    const results = await collect(handleOf(server).results());
    expect(results.map(({ attempts, reusedFrom }) => [attempts, reusedFrom])).toEqual([
      [0, 'job_0'],
      [1, null],
    ]);
  });

  it('gives failed items as values', async () => {
    await using server = await FakeServer.start((_request, response) => {
      response.writeHead(200, ndjson).end(resultLine(0, { latency_ms: 12 }) + failedLine(1));
    });
    const results = await collect(handleOf(server).results());
    expect(results[0]).toMatchObject({ ok: true, index: 0, customId: '0', latencyMs: 12, attempts: 1 });
    expect(results[1]).toMatchObject({
      ok: false,
      status: 'failed',
      error: { code: 'engine_error', retryable: true },
    });
    expect(server.requests[0]?.query.get('order')).toBe('input');
  });

  it('goes on behind the last whole line when the connection breaks', async () => {
    await using server = await FakeServer.start(({ query }, response, count) => {
      response.writeHead(200, ndjson);
      if (count === 1) {
        response.write(resultLine(0) + resultLine(1) + resultLine(2).slice(0, 20), () => response.destroy());
      } else {
        const after = Number(query.get('after'));
        response.end(resultLine(after + 1) + resultLine(after + 2));
      }
    });
    const results = await collect(handleOf(server).results());
    expect(results.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(server.requests.map(({ query }) => query.get('after'))).toEqual([null, '1']);
  });

  it('takes an end in the middle of a line for a broken connection', async () => {
    await using server = await FakeServer.start((_request, response, count) => {
      response
        .writeHead(200, ndjson)
        .end(count === 1 ? resultLine(0) + resultLine(1).slice(0, -5) : resultLine(1));
    });
    expect((await collect(handleOf(server).results())).map(({ index }) => index)).toEqual([0, 1]);
  });

  it('gives up when the stream breaks again and again without a line between', async () => {
    await using server = await FakeServer.start((_request, response) => {
      response.writeHead(200, ndjson).write('{"ind', () => response.destroy());
    });
    const reading = collect(handleOf(server, { maxRetries: 1 }).results());
    await expect(reading).rejects.toBeInstanceOf(ConnectionError);
    expect(server.requests).toHaveLength(2);
  });

  it('in completion order goes on behind the cursor', async () => {
    await using server = await FakeServer.start(({ query }, response, count) => {
      response.writeHead(200, ndjson);
      if (count === 1) response.write(resultLine(7, { cursor: '1.0' }), () => response.destroy());
      else response.end(query.get('after') === '1.0' ? resultLine(3, { cursor: '1.1' }) : '');
    });
    const results = await collect(handleOf(server).results({ order: 'completion' }));
    expect(results.map(({ index, cursor }) => [index, cursor])).toEqual([
      [7, '1.0'],
      [3, '1.1'],
    ]);
  });

  it('follows a running job in input order, and waits at holes', async () => {
    const parts = [resultLine(0) + resultLine(2), resultLine(1) + resultLine(2) + resultLine(3)];
    let reads = 0;
    await using server = await FakeServer.start(({ path }, response) => {
      if (!path.endsWith('/results')) return sendJson(response, 200, reads > 1 ? endedJob() : running);
      const part = parts[reads] ?? '';
      const headers = { ...ndjson, ...(reads === 0 ? { 'x-incomplete': 'true' } : {}) };
      reads += 1;
      response.writeHead(200, headers).end(part);
    });
    const results = await collect(handleOf(server).results());
    expect(results.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  });

  it('does not read what stands behind a hole that the server names', async () => {
    let reads = 0;
    let read = '';
    await using server = await FakeServer.start(({ path }, response) => {
      if (!path.endsWith('/results')) return sendJson(response, 200, reads > 1 ? endedJob() : running);
      reads += 1;
      if (reads > 1) {
        response.writeHead(200, ndjson).end(resultLine(0) + resultLine(1));
        return;
      }
      // An answer that never comes: everything else is still being put in order.
      response.writeHead(200, { ...ndjson, 'x-incomplete': 'true', 'x-last-line': '-1' }).flushHeaders();
      response.once('close', () => {
        read += 'closed';
      });
    });
    const results = await collect(handleOf(server).results());
    expect(results.map(({ index }) => index)).toEqual([0, 1]);
    expect(read).toBe('closed');
  });

  it('without follow gives what is there', async () => {
    await using server = await FakeServer.start((_request, response) => {
      response.writeHead(200, { ...ndjson, 'x-incomplete': 'true' }).end(resultLine(0));
    });
    expect(await collect(handleOf(server).results({ follow: false }))).toHaveLength(1);
    expect(server.requests).toHaveLength(1);
  });

  it('closes the connection when the reader leaves early', async () => {
    let closed: () => void = () => undefined;
    const isClosed = new Promise<void>((resolve) => {
      closed = resolve;
    });
    await using server = await FakeServer.start((_request, response) => {
      response.on('close', closed);
      response.writeHead(200, ndjson).write(resultLine(0) + resultLine(1));
    });
    for await (const result of handleOf(server).results()) if (result.index === 0) break;
    await isClosed;
  });

  it('throws what the reader throws, without opening the stream again', async () => {
    await using server = await FakeServer.start((_request, response) => {
      response.writeHead(200, ndjson).end(resultLine(0) + resultLine(1));
    });
    const reading = (async () => {
      for await (const result of handleOf(server).results()) throw new TypeError(`bug at ${result.index}`);
    })();
    await expect(reading).rejects.toThrow('bug at 0');
    expect(server.requests).toHaveLength(1);
  });

  it('passes lines as the server wrote them', async () => {
    await using server = await FakeServer.start((_request, response) => {
      response.writeHead(200, ndjson).end(resultLine(0) + failedLine(1));
    });
    const lines = await collect(handleOf(server).lines());
    expect(lines.map(({ text }) => `${text}\n`)).toEqual([resultLine(0), failedLine(1)]);
    expect(lines[1]).toMatchObject({ index: 1, status: 'failed' });
  });

  it('asks for failed ones only, after the end', async () => {
    await using server = await FakeServer.start(({ path }, response) => {
      if (path.endsWith('/results')) response.writeHead(200, ndjson).end(failedLine(1));
      else sendJson(response, 200, endedJob());
    });
    const failed: ItemResult[] = await collect(handleOf(server).errors());
    expect(failed.map(({ index }) => index)).toEqual([1]);
    expect(server.requests.at(-1)?.query.get('status')).toBe('failed,cancelled,expired');
  });
});

describe('steering', () => {
  it('pauses and resumes', async () => {
    await using server = await FakeServer.start(({ path }, response) => {
      sendJson(response, 200, wireJob({ paused: path.endsWith('/pause') }));
    });
    const handle = handleOf(server);
    expect((await handle.pause()).paused).toBe(true);
    expect((await handle.resume()).paused).toBe(false);
    expect(server.requests.map(({ path }) => path)).toEqual([
      '/v1/jobs/job_1/pause',
      '/v1/jobs/job_1/resume',
    ]);
  });

  it('cancels, retries and gives the only result', async () => {
    await using server = await FakeServer.start(({ path }, response) => {
      if (path.endsWith('/results')) response.writeHead(200, ndjson).end(resultLine(0));
      else sendJson(response, 200, endedJob(1));
    });
    const handle = handleOf(server);
    await handle.cancel();
    await handle.retryFailed({ status: ['failed'] });
    expect(server.requests.map(({ method, path, body }) => [method, path, body])).toEqual([
      ['POST', '/v1/jobs/job_1/cancel', ''],
      ['POST', '/v1/jobs/job_1/retry', '{"status":["failed"]}'],
    ]);
    expect(await handle.result()).toMatchObject({ ok: true, index: 0 });
    expect(handle.latest?.status).toBe('succeeded');
  });
});
