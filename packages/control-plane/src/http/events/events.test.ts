import { afterEach, beforeEach, expect, it } from 'vitest';
import { openTestApi, type TestApi } from '../api-conformance.js';

let api: TestApi;
let url: string;

interface SeenEvent {
  readonly id: string;
  readonly name: string;
  readonly job: { status: string; paused: boolean; counts: Record<string, number> };
}

beforeEach(async () => {
  api = await openTestApi();
  await api.saveRunner(['m']);
  url = await api.listen();
});

afterEach(() => api.close());

async function create(items: number): Promise<string> {
  const payload = {
    model: 'm',
    endpoint: '/v1/completions',
    items: Array.from({ length: items }, () => ({ body: { prompt: 'x' } })),
  };
  return (await api.fastify.inject({ method: 'POST', url: '/v1/jobs', payload })).json().id;
}

/** Reads events as they come; `text` is everything that came. */
async function follow(id: string, headers: Record<string, string> = {}) {
  const abort = new AbortController();
  const answer = await fetch(`${url}/v1/jobs/${id}/events`, { headers, signal: abort.signal });
  const seen: SeenEvent[] = [];
  const stream = { status: answer.status, headers: answer.headers, seen, text: '', abort };
  const ended = (async () => {
    for await (const chunk of (answer.body ?? []) as AsyncIterable<Uint8Array>) {
      stream.text += Buffer.from(chunk).toString();
      seen.splice(0, seen.length, ...parse(stream.text));
    }
  })();
  ended.catch(() => undefined);
  return Object.assign(stream, { ended });
}

const parse = (text: string): SeenEvent[] =>
  [...text.matchAll(/id: (.*)\nevent: (.*)\ndata: (.*)\n\n/g)].map(([, id = '', name = '', data = '']) => ({
    id,
    name,
    job: JSON.parse(data),
  }));

const changed = (id: string) => api.signals.emit('job-changed', id);

it('tells status, progress and the end, and ends with the job', async () => {
  const id = await create(3);
  const stream = await follow(id);
  expect(stream.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  await expect.poll(() => stream.seen.length).toBe(1);
  await api.runShard((index) => (index === 0 ? { status: 200, body: {} } : null));
  changed(id);
  await expect.poll(() => stream.seen.at(-1)?.job.counts.succeeded).toBe(1);
  await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/pause` });
  await expect.poll(() => stream.seen.at(-1)?.job.paused).toBe(true);
  await api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/resume` });
  await api.runAll();
  await stream.ended;

  expect(stream.seen.at(0)).toMatchObject({ name: 'status', job: { status: 'queued' } });
  expect(stream.seen.at(-1)).toMatchObject({ name: 'finished', job: { status: 'succeeded' } });
  expect(stream.seen.filter(({ name }) => name === 'finished')).toHaveLength(1);
  const ids = stream.seen.map((event) => Number(event.id));
  expect(ids).toEqual(ids.toSorted((left, right) => left - right));
});

it('goes on behind the last event that a reader has, and says when there is none', async () => {
  const id = await create(1);
  const first = await follow(id);
  await expect.poll(() => first.seen.length).toBe(1);
  first.abort.abort();
  const lastEventId = first.seen[0]?.id ?? '';

  const quiet = await follow(id, { 'last-event-id': lastEventId });
  await api.runAll();
  await quiet.ended;
  expect(quiet.seen.some((event) => event.id === lastEventId)).toBe(false);
  const last = quiet.seen.at(-1);
  expect(last?.name).toBe('finished');

  expect((await follow(id, { 'last-event-id': last?.id ?? '' })).status).toBe(204);
  const late = await follow(id, { 'last-event-id': lastEventId });
  await late.ended;
  expect(late.seen.map(({ name }) => name)).toEqual(['finished']);
});

it('ends without a last event when the server shuts down', async () => {
  const stream = await follow(await create(1));
  await expect.poll(() => stream.seen.length).toBe(1);
  api.signals.emit('draining');
  await stream.ended;
  expect(stream.seen.map(({ name }) => name)).toEqual(['status']);
});

it('knows no jobs of others', async () => {
  const id = await create(1);
  expect((await follow(id, { 'x-test-project': 'other' })).status).toBe(404);
  expect((await follow('job_none')).status).toBe(404);
});
