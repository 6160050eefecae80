import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { FakeServer, sendJson, wireJob } from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';
import { APIError } from './errors.js';
import type { JobEvent } from './events.js';

const begin = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).write('retry: 1000\n\n');
};
const event = (name: string, id: number, changes = {}): string =>
  `: keep-alive\n\nid: ${id}\nevent: ${name}\ndata: ${JSON.stringify(wireJob(changes))}\n\n`;
const handleOf = (server: FakeServer) =>
  new BatchInfer({ baseUrl: server.url, maxRetries: 2 }).jobs.attach('job_1');
async function all(events: AsyncIterable<JobEvent>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { type, id, job } of events) seen.push(`${type} ${id} ${job.status}`);
  return seen;
}

describe('events', () => {
  it('are the server’s, with the job as it was, and end with the job', async () => {
    await using server = await FakeServer.start((_request, response) => {
      begin(response);
      response.write(event('status', 1) + event('of a newer server', 2));
      response.end(
        event('progress', 3, { status: 'running' }) + event('finished', 4, { status: 'succeeded' }),
      );
    });
    expect(await all(handleOf(server).events())).toEqual([
      'status 1 queued',
      'progress 3 running',
      'finished 4 succeeded',
    ]);
    expect(server.requests.map(({ path }) => path)).toEqual(['/v1/jobs/job_1/events']);
  });

  it('go on behind the last one when the stream breaks or the server leaves', async () => {
    await using server = await FakeServer.start((_request, response, count) => {
      begin(response);
      if (count === 1) response.write(`${event('status', 1)}id: 2\neve`, () => response.destroy());
      else if (count === 2) response.end(event('progress', 2));
      else response.end(event('finished', 3, { status: 'failed' }));
    });
    expect(await all(handleOf(server).events())).toEqual([
      'status 1 queued',
      'progress 2 queued',
      'finished 3 failed',
    ]);
    expect(server.requests.map(({ query }) => query.get('last_event_id'))).toEqual([null, '1', '2']);
  });

  it('end at once where the last one was the last', async () => {
    await using server = await FakeServer.start((_request, response) => {
      response.writeHead(204).end();
    });
    expect(await all(handleOf(server).events({ lastEventId: '9' }))).toEqual([]);
  });

  it('of an unknown job are an error; a reader that leaves closes the stream', async () => {
    await using server = await FakeServer.start(({ path }, response) => {
      if (path.includes('job_1')) {
        begin(response);
        response.write(event('status', 1));
      } else sendJson(response, 404, { code: 'not_found', detail: 'No such job.' });
    });
    const unknown = new BatchInfer({ baseUrl: server.url }).jobs.attach('job_2').events();
    await expect(unknown.next()).rejects.toBeInstanceOf(APIError);
    for await (const { type } of handleOf(server).events()) {
      expect(type).toBe('status');
      break;
    }
  });
});
