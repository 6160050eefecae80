import { parseExactJson } from '@batch-infer/contracts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Answer } from './api-conformance.js';
import { openSyncWorld, type SyncWorld } from './sync/sync-fixture.js';

/**
 * Values that a way through parsed JavaScript values changes. Made anew for each test: what comes out of a small generator
 * with a fixed seed, so that a failure comes again.
 */
function* oddValues(seed: number): Generator<string> {
  let state = seed;
  const below = (limit: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % limit;
  };
  const digits = (count: number): string =>
    `${1 + below(9)}${Array.from({ length: count - 1 }, () => below(10)).join('')}`;
  const strings = [
    '"\\ud800"',
    '"\\u0041\\/é\\n"',
    '"\\ud83d\\ude00"',
    '"1.0"',
    '" {[ \\" ]}:, "',
    '"\\u2028"',
  ];
  for (;;) {
    yield digits(17 + below(30));
    yield `-${digits(16)}.${digits(1 + below(20))}`;
    yield `${digits(1)}.0`;
    yield `${digits(1)}e${below(2) === 0 ? '+' : ''}${below(500)}`;
    yield '-0';
    yield strings[below(strings.length)] ?? '""';
  }
}
const values = oddValues(7);
const next = (): string => String(values.next().value);
/** A nested object of odd values: as text, and as a value that is written as that text. */
const odd = (): string =>
  `{"a":${next()},"b":[${next()},${next()},{"c":${next()}}],"d":${next()},"e":${next()}}`;
const exact = (text: string): unknown => parseExactJson(text);

let world: SyncWorld;
let asked: string[];
let answer: string;

beforeEach(async () => {
  asked = [];
  answer = '{}';
  world = await openSyncWorld(({ body }): Answer => {
    asked.push(JSON.stringify(body));
    return { status: 200, body: exact(answer) };
  });
});

afterEach(() => world.close());

const send = async (path: string, body: string, headers: Record<string, string> = {}) => {
  const sent = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body };
  const response = await fetch(`${world.url}${path}`, sent);
  return { status: response.status, text: await response.text() };
};
const lines = { 'content-type': 'application/x-ndjson' };
const query = (more: Record<string, string> = {}): string =>
  String(new URLSearchParams({ endpoint: '/v1/chat/completions', ...more }));
const same = (text: string): string => JSON.stringify(exact(text));

const ENDPOINTS = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/responses',
  '/v1/messages',
] as const;
const needed: Readonly<Record<(typeof ENDPOINTS)[number], string>> = {
  '/v1/chat/completions': '"messages":[{"role":"user","content":"q"}]',
  '/v1/completions': '"prompt":"q"',
  '/v1/embeddings': '"input":"q"',
  '/v1/responses': '"input":"q"',
  '/v1/messages': '"max_tokens":9,"messages":[{"role":"user","content":"q"}]',
};

const CHAT = needed['/v1/chat/completions'];

describe('digits and words reach the engine as they were sent, and come back as they were said', () => {
  it.each(ENDPOINTS)('through a plain request of %s', async (endpoint) => {
    for (let round = 0; round < 5; round += 1) {
      const body = `{"model":"m",${needed[endpoint]},"x":${odd()}}`;
      answer = `{"output":[],"content":[],"choices":[],"status":"completed","x":${odd()}}`;
      const { text } = await send(endpoint, body);
      expect(asked.pop()).toBe(same(body));
      expect(text).toContain(same(answer).slice(1, -1).split('"x":')[1]);
    }
  });

  it.each(['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/messages'] as const)(
    'through a streamed request of %s',
    async (endpoint) => {
      const x = odd();
      answer = `{"id":"i","choices":[{"index":0,"message":{"content":"hi","x":${x}},"text":"hi","x":${x}}],"status":"completed",
        "output":[{"type":"other","x":${x}}],"content":[{"type":"tool_use","id":"t","name":"f","input":${x}}],"x":${x}}`;
      const body = `{"model":"m","stream":true,${needed[endpoint]},"stream_options":{"include_usage":true},"x":${odd()}}`;
      const { text } = await send(endpoint, body);
      expect(asked).toEqual([same(body.replace(/"stream":true,|"stream_options":[^}]+},/g, ''))]);
      expect(text).toContain(endpoint === '/v1/messages' ? JSON.stringify(same(x)) : `"x":${same(x)}`);
    },
  );

  it('through a background response, before and behind its end', async () => {
    const tools = `[{"type":"function","name":"f","parameters":${odd()}}]`;
    answer = `{"output":[],"status":"completed","x":${odd()}}`;
    const body = `{"model":"m","input":"q","background":true,"tools":${tools},"x":${odd()}}`;
    const made = await send('/v1/responses', body);
    expect(made.text).toContain(`"tools":${same(tools)}`);
    const { id } = JSON.parse(made.text);
    await expect.poll(async () => (await get(`/v1/responses/${id}`)).status).toBe('completed');
    const { payload } = await world.api.fastify.inject({ method: 'GET', url: `/v1/responses/${id}` });
    expect(payload).toContain(`"tools":${same(tools)}`);
    expect(payload).toContain(same(answer).split('"x":')[1]?.slice(0, -1));
    expect(asked).toEqual([same(body.replace('"background":true,', ''))]);
  });

  it('through jobs of one input, of items, and of lines', async () => {
    const body = `{"model":"m",${CHAT},"x":${odd()}}`;
    const job = '"endpoint":"/v1/chat/completions"';
    answer = `{"choices":[],"x":${odd()}}`;
    const made = [
      await send('/v1/jobs', `{${job},"input":${body}}`),
      await send('/v1/jobs', `{${job},"items":[{"custom_id":"a","body":${body}},{"body":${body}}]}`),
      await send(`/v1/jobs?${query()}`, `{"body":${body}}\n{"body":${body}}\n`, lines),
    ];
    expect(made.map(({ status }) => status)).toEqual([202, 202, 202]);
    await expect.poll(() => asked.length).toBe(5);
    for (const sent of asked) expect(sent).toBe(same(body));
  });

  it('through the defaults of a job, however they are sent', async () => {
    const defaults = `{"seed":1234567890123456789,"x":${odd()}}`;
    const body = `{"model":"m",${CHAT}}`;
    const made = [
      await send('/v1/jobs', `{"endpoint":"/v1/chat/completions","input":${body},"defaults":${defaults}}`),
      await send(`/v1/jobs?${query({ defaults })}`, `{"body":${body}}\n`, lines),
    ];
    for (const { text } of made) {
      const job = await world.api.ledger.getJob({ projectId: 'default', id: JSON.parse(text).id });
      expect(JSON.stringify(job?.options.defaults)).toBe(same(defaults));
    }
  });

  it('and requests that differ in one digit only are two', async () => {
    const key = { 'idempotency-key': 'k' };
    const body = (id: string): string => `{"model":"m",${CHAT},"id":${id}}`;
    await send('/v1/chat/completions', body('1234567890123456788'), key);
    expect((await send('/v1/chat/completions', body('1234567890123456789'), key)).status).toBe(422);
    expect((await send('/v1/chat/completions', body('1234567890123456788'), key)).status).toBe(200);
    expect(asked).toHaveLength(1);
  });
});

const get = async (path: string) => (await world.api.fastify.inject({ method: 'GET', url: path })).json();
