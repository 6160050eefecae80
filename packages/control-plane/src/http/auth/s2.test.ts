import { toBatchId } from '@batch-infer/contracts';
import { API_KEY_SCOPES, type ApiKeyScope } from '@batch-infer/contracts/access';
import type { LightMyRequestResponse } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiRoute } from '../api-route.js';
import { API_ROUTES } from '../openapi-routes.js';
import { type AccessWorld, type Ask, openAccessWorld } from './access-fixture.js';
import { routeKeyOf } from './route-scopes.js';

/** S2: every route × foreign project × wrong scope × revoked, expired or missing key, from the route table. */

const OTHERS = 'owner-of-things';
const MINE = 'attacker';

/** Routes whose `{id}` names nothing that belongs to a project. */
const SHARED = new Set(['/v1/models/{id}']);

const protocol = { 'x-batch-infer-protocol': '1' };
const json = { 'content-type': 'application/json' };
const ndjson = { 'content-type': 'application/x-ndjson' };

/** What a route must be sent to get as far as the id. */
const REQUESTS: Readonly<Record<string, Pick<Ask, 'headers' | 'payload'> & { query?: string }>> = {
  'post /v1/runner/shards/{id}/settle': { query: '?epoch=1', headers: ndjson, payload: '' },
  'post /v1/runner/shards/{id}/release': {
    headers: json,
    payload: { runner_id: 'r', epoch: 1, reason: 'drain' },
  },
  'get /v1/runner/shards/{id}/lines': { query: '?epoch=1' },
  'post /v1/projects/{id}': { headers: json, payload: { name: 'renamed' } },
};

const nameOf = ({ method, path }: ApiRoute) => `${method} ${path}`;
const closed = API_ROUTES.filter(({ scope }) => scope !== 'public');
const withId = closed.filter(({ path }) => path.includes('{id}') && !SHARED.has(path));

let world: AccessWorld;
/** Everything that the others have. */
let theirs: Record<
  'job' | 'batch' | 'file' | 'upload' | 'key' | 'shard' | 'endpoint' | 'delivery' | 'response',
  string
>;
const keys = new Map<string, string>();

const keyOf = (name: string): string => {
  const key = keys.get(name);
  if (key === undefined) throw new Error(`no key ${name}`);
  return key;
};

beforeAll(async () => {
  world = await openAccessWorld([OTHERS, MINE]);
  const make = async (name: string, project: string, scopes: ApiKeyScope[], more = {}) => {
    const made = await world.makeKey({ name, project_id: project, scopes, ...more });
    keys.set(name, made.key);
    return made.record.id;
  };
  const victimKey = await make('theirs', OTHERS, ['admin']);
  await make('mine', MINE, [...API_KEY_SCOPES]);
  for (const scope of API_KEY_SCOPES) {
    const others = API_KEY_SCOPES.filter((each) => each !== scope && each !== 'admin');
    await make(`without ${scope}`, OTHERS, others);
  }
  await world.revoke(await make('revoked', OTHERS, ['admin']));
  await make('expired', OTHERS, ['admin'], { expires_in: '1m' });
  world.advance(61_000);
  const wrong = keyOf('theirs');
  keys.set('wrong secret', `${wrong.slice(0, -1)}${wrong.endsWith('a') ? 'b' : 'a'}`);
  keys.set('unknown', `bi_${'0'.repeat(32)}_${'a'.repeat(33)}`);
  keys.set('garbage', 'sk-something-else');

  const created = await world.ask({
    method: 'POST',
    url: '/v1/jobs?model=m&endpoint=/v1/chat/completions',
    key: keyOf('theirs'),
    headers: ndjson,
    payload: '{"body":{"messages":[{"role":"user","content":"theirs"}]}}\n',
  });
  expect(created.statusCode).toBe(202);
  const job: string = created.json().id;
  const form = ['--x', 'content-disposition: form-data; name="purpose"', '', 'user_data', '--x'];
  form.push('content-disposition: form-data; name="file"; filename="f"', '', 'theirs', '--x--', '');
  const uploaded = await world.ask({
    method: 'POST',
    url: '/v1/files',
    key: keyOf('theirs'),
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
    payload: form.join('\r\n'),
  });
  expect(uploaded.statusCode).toBe(200);
  const [shard] = await world.ledger.listShards({ jobId: job, fromOrdinal: 0, toOrdinal: 1 });
  if (shard === undefined) throw new Error('the job has no shard');
  const nowMs = Date.now();
  await world.ledger.claimShard({ shardId: shard.id, epoch: 0, runnerId: 'r', leaseMs: 600_000, nowMs });
  const messages = await world.ask({
    method: 'POST',
    url: '/v1/messages/batches',
    key: keyOf('theirs'),
    headers: json,
    payload: {
      requests: [
        {
          custom_id: 'a',
          params: { model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'theirs' }] },
        },
      ],
    },
  });
  expect(messages.statusCode, messages.body).toBe(200);
  const batch: string = messages.json().id;
  const begun = await world.ask({
    method: 'POST',
    url: '/v1/uploads',
    key: keyOf('theirs'),
    headers: json,
    payload: { bytes: 9, filename: 'f', mime_type: 'text/jsonl', purpose: 'batch' },
  });
  expect(begun.statusCode, begun.body).toBe(200);
  const background = await world.ask({
    method: 'POST',
    url: '/v1/responses',
    key: keyOf('theirs'),
    headers: json,
    payload: { model: 'm', input: 'theirs', background: true },
  });
  expect(background.statusCode, background.body).toBe(200);
  const response: string = background.json().id;
  const files = { file: uploaded.json().id, upload: begun.json().id };
  const ids = { job, batch, response, ...files, ...(await makeWebhooks()) };
  theirs = { ...ids, key: victimKey, shard: shard.id };
});

afterAll(() => world.close());

/** An endpoint of the others, and an event on its way to it: that of a job whose input was refused. */
async function makeWebhooks(): Promise<{ endpoint: string; delivery: string }> {
  const call = { method: 'POST', key: keyOf('theirs') } as const;
  const payload = { url: 'https://hooks.example/theirs' };
  const endpoint = await world.ask({ ...call, url: '/v1/webhook_endpoints', headers: json, payload });
  expect(endpoint.statusCode, endpoint.body).toBe(200);
  const url = '/v1/jobs?model=m&endpoint=/v1/completions&completion_window=1m';
  const job = await world.ask({ ...call, url, headers: ndjson, payload: '{"body":{"prompt":"theirs"}}\n' });
  const nowMs = Date.now();
  const jobId: string = job.json().id;
  await world.ledger.stopJob({ projectId: OTHERS, id: jobId, reason: 'cancelled', nowMs });
  await world.ledger.claimFinalization({ jobId, owner: 'r', claimMs: 1_000, nowMs });
  const end = { jobId, owner: 'r', state: 'cancelled', cancelled: 1, expired: 0 } as const;
  await world.ledger.finishJob({ ...end, outputFile: null, errorFile: null, nowMs });
  const [delivery] = await world.ledger.listWebhookDeliveries({ projectId: OTHERS, limit: 1 });
  if (delivery === undefined) throw new Error('the end of the job is no event');
  return { endpoint: endpoint.json().id, delivery: delivery.id };
}

/** An id of the others for a route; a route with a new kind of id must be added here to be tested. */
function victimOf({ path }: ApiRoute): string {
  if (path.startsWith('/v1/jobs/')) return theirs.job;
  if (path.startsWith('/v1/batches/')) return toBatchId(theirs.job);
  if (path.startsWith('/v1/messages/batches/')) return theirs.batch;
  if (path.startsWith('/v1/responses/')) return theirs.response;
  if (path.startsWith('/v1/files/')) return theirs.file;
  if (path.startsWith('/v1/uploads/')) return theirs.upload;
  if (path.startsWith('/v1/keys/')) return theirs.key;
  if (path.startsWith('/v1/projects/')) return OTHERS;
  if (path.startsWith('/v1/runner/shards/')) return theirs.shard;
  if (path.startsWith('/v1/webhook_endpoints/')) return theirs.endpoint;
  if (path.startsWith('/v1/webhook_deliveries/')) return theirs.delivery;
  throw new Error(`s2.test.ts knows nobody's id for ${path}: add one`);
}

/** Of the same form, and nobody's. */
const unknownLike = (id: string): string => `${id.slice(0, -4)}${id.endsWith('0000') ? '1111' : '0000'}`;

async function ask(route: ApiRoute, id: string, key: string | undefined): Promise<LightMyRequestResponse> {
  const { query = '', headers = {}, payload } = REQUESTS[nameOf(route)] ?? {};
  return world.ask({
    method: route.method,
    url: `${route.path.replace('{id}', id)}${query}`,
    key,
    headers: { ...(route.scope === 'runner' ? protocol : {}), ...headers },
    ...(payload === undefined ? {} : { payload }),
  });
}

/** What a client sees, without what differs in every answer and in every question. */
function seen(answer: LightMyRequestResponse, id: string) {
  const { 'content-type': type, 'x-should-retry': retry, 'retry-after': after } = answer.headers;
  const body = answer.body.replaceAll(/req_[0-9a-f]{32}/g, 'REQUEST').replaceAll(id, 'ID');
  return { status: answer.statusCode, type, retry, after, body };
}

describe('the route table', () => {
  it('has every route of the whole server, and nothing else', () => {
    const described = API_ROUTES.map(({ method, path }) =>
      routeKeyOf(method, path.replaceAll(/\{(\w+)\}/g, ':$1')),
    );
    expect([...world.routes].sort()).toEqual([...new Set(described)].sort());
    expect(new Set(described).size).toBe(described.length);
  });

  it('opens to everybody only what tells nothing of anybody', () => {
    expect(API_ROUTES.filter(({ scope }) => scope === 'public').map(({ path }) => path)).toEqual([
      '/openapi.json',
      '/healthz',
      '/health',
      '/readyz',
      '/metrics',
    ]);
  });
});

describe('S2: without a good key', () => {
  it.each(closed.map((route) => [nameOf(route), route] as const))('%s is refused', async (_, route) => {
    const id = route.path.includes('{id}') && !SHARED.has(route.path) ? victimOf(route) : 'x';
    const missing = await ask(route, id, undefined);
    expect([missing.statusCode, missing.body]).toEqual([401, expect.stringContaining('missing_api_key')]);
    const bodies = new Set<string>();
    for (const name of ['revoked', 'expired', 'wrong secret', 'unknown', 'garbage']) {
      const answer = await ask(route, id, keyOf(name));
      expect([name, answer.statusCode], answer.body).toEqual([name, 401]);
      bodies.add(JSON.stringify(seen(answer, id)));
    }
    // Nothing tells a key that was good once from one that never was.
    expect(bodies.size).toBe(1);
  });
});

describe('S2: without the scope', () => {
  const scoped = closed.filter(({ scope }) => scope !== 'any');
  it.each(scoped.map((route) => [nameOf(route), route] as const))('%s is refused', async (_, route) => {
    const id = route.path.includes('{id}') && !SHARED.has(route.path) ? victimOf(route) : 'x-known';
    const key = keyOf(`without ${route.scope}`);
    const known = await ask(route, id, key);
    expect(known.statusCode, known.body).toBe(403);
    expect(known.body).toContain(route.scope);
    const unknown = await ask(route, unknownLike(id), key);
    expect(seen(unknown, unknownLike(id))).toEqual(seen(known, id));
  });
});

describe('S2: from another project', () => {
  it.each(withId.map((route) => [nameOf(route), route] as const))(
    '%s answers like an unknown id',
    async (_, route) => {
      const id = victimOf(route);
      const unknown = await ask(route, unknownLike(id), keyOf('mine'));
      const foreign = await ask(route, id, keyOf('mine'));
      expect(seen(foreign, id)).toEqual(seen(unknown, unknownLike(id)));
    },
  );

  it.each([
    ['a job over a foreign file', 'POST', '/v1/jobs', { file_id: 'FILE' }],
    [
      'a batch over a foreign file',
      'POST',
      '/v1/batches',
      { input_file_id: 'FILE', endpoint: '/v1/chat/completions', completion_window: '24h' },
    ],
    ['a key in a foreign project', 'POST', '/v1/keys', { project_id: 'PROJECT' }],
    ['a claim', 'POST', '/v1/runner/claim', { runner_id: 'r', shard_id: 'SHARD', epoch: 1 }],
    [
      'a renewal',
      'POST',
      '/v1/runner/renew',
      {
        runner_id: 'r',
        version: '0',
        models: ['m'],
        engines: [],
        free_slots: 0,
        in_flight: 0,
        items_per_second: 0,
        leases: [{ shard_id: 'SHARD', epoch: 1 }],
      },
    ],
    ['jobs behind a foreign job', 'GET', '/v1/jobs?cursor=JOB', null],
    ['files behind a foreign file', 'GET', '/v1/files?after=FILE', null],
    ['batches behind a foreign batch', 'GET', '/v1/batches?after=JOB', null],
    ['message batches behind a foreign one', 'GET', '/v1/messages/batches?after_id=BATCH', null],
    ['message batches before a foreign one', 'GET', '/v1/messages/batches?before_id=BATCH', null],
  ] as const)('%s: as with an unknown one', async (_, method, url, payload) => {
    const ids = {
      JOB: theirs.job,
      BATCH: theirs.batch,
      FILE: theirs.file,
      SHARD: theirs.shard,
      PROJECT: OTHERS,
    };
    const [name, id] = Object.entries(ids).find(([each]) =>
      JSON.stringify([url, payload]).includes(each),
    ) ?? ['', ''];
    const send = (sent: string) =>
      world.ask({
        method,
        url: url.replace(name, sent),
        key: keyOf('mine'),
        headers: protocol,
        ...(payload === null ? {} : { payload: JSON.parse(JSON.stringify(payload).replace(name, sent)) }),
      });
    expect(seen(await send(id), id)).toEqual(seen(await send(unknownLike(id)), unknownLike(id)));
  });

  it('nothing of the others is listed', async () => {
    for (const url of [
      ...['/v1/jobs', '/v1/files', '/v1/batches', '/v1/messages/batches'],
      ...['/v1/keys', '/v1/projects'],
    ]) {
      const answer = await world.ask({ method: 'GET', url, key: keyOf('mine') });
      expect(answer.statusCode, answer.body).toBe(200);
      expect(answer.body).not.toContain(OTHERS);
      for (const id of [
        theirs.job,
        theirs.file,
        theirs.key,
        toBatchId(theirs.job),
        theirs.batch,
        theirs.response,
      ])
        expect(answer.body).not.toContain(id);
    }
  });

  it('nothing of the others was changed by all this', async () => {
    const job = await world.ask({ method: 'GET', url: `/v1/jobs/${theirs.job}`, key: keyOf('theirs') });
    expect(job.json()).toMatchObject({ status: 'running', counts: { total: 1, running: 1 } });
    const response = await world.ask({
      method: 'GET',
      url: `/v1/responses/${theirs.response}`,
      key: keyOf('theirs'),
    });
    expect(response.json()).toMatchObject({ id: theirs.response, status: 'queued' });
    const shard = await world.ledger.getShard({ shardId: theirs.shard });
    expect(shard).toMatchObject({ state: 'leased', epoch: 1 });
    const file = await world.ask({ method: 'GET', url: `/v1/files/${theirs.file}`, key: keyOf('theirs') });
    expect(file.statusCode).toBe(200);
    expect(await world.ledger.getApiKey({ id: theirs.key })).toMatchObject({
      revokedAtMs: null,
      rotatedTo: null,
    });
    expect(await world.ledger.getProject({ id: OTHERS })).toMatchObject({ name: OTHERS });
  });
});
