import { startFaultProxy } from '@batch-infer/testkit';
import { describe, expect, it } from 'vitest';
import { endedJob, FakeServer, resultLine, sendJson, wireJob } from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';

/** A server that makes one job for each idempotency key. */
async function jobServer(): Promise<{ server: FakeServer; jobs: Map<string, string> }> {
  const jobs = new Map<string, string>();
  const server = await FakeServer.start(({ headers }, response) => {
    const key = String(headers['idempotency-key']);
    const id = jobs.get(key) ?? `job_${jobs.size + 1}`;
    const replayed = jobs.has(key);
    jobs.set(key, id);
    sendJson(response, 202, wireJob({ id }), replayed ? { 'idempotent-replayed': 'true' } : {});
  });
  return { server, jobs };
}

describe('through a network that fails', () => {
  it('a lost answer to submit is asked for again and gives the same job', async () => {
    const { server, jobs } = await jobServer();
    await using _server = server;
    const proxy = await startFaultProxy({ target: server.url });
    try {
      const client = new BatchInfer({ baseUrl: proxy.url });
      for (let round = 1; round <= 10; round += 1) {
        proxy.cutResponseAfterUpstreamAnswered({ method: 'POST' });
        const job = await client.jobs.submitOne({ messages: [] });
        expect([job.id, job.replayed, jobs.size]).toEqual([`job_${round}`, true, round]);
      }
    } finally {
      await proxy.close();
    }
  });

  it('a lost request is sent again', async () => {
    const { server, jobs } = await jobServer();
    await using _server = server;
    const proxy = await startFaultProxy({ target: server.url });
    try {
      proxy.cutRequestBeforeUpstream();
      const job = await new BatchInfer({ baseUrl: proxy.url }).jobs.submitOne({ messages: [] });
      expect([job.id, job.replayed, jobs.size]).toEqual(['job_1', false, 1]);
    } finally {
      await proxy.close();
    }
  });

  it('results come once each and in order, however often the connection is reset', async () => {
    const total = 2_000;
    await using server = await FakeServer.start(({ path, query }, response) => {
      if (!path.endsWith('/results')) return sendJson(response, 200, endedJob(total));
      const first = Number(query.get('after') ?? -1) + 1;
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      for (let index = first; index < total; index += 1) response.write(resultLine(index));
      response.end();
    });
    const proxy = await startFaultProxy({ target: server.url });
    try {
      const indices: number[] = [];
      for await (const { index } of new BatchInfer({ baseUrl: proxy.url }).jobs.results('job_1')) {
        indices.push(index);
        if (index % 400 === 399) proxy.dropConnections();
      }
      expect(indices).toEqual(Array.from({ length: total }, (_, index) => index));
    } finally {
      await proxy.close();
    }
  });
});
