import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type AccessWorld, openAccessWorld } from '../auth/access-fixture.js';
import { API_ROUTES } from '../openapi-routes.js';
import { SECURITY_HEADERS } from '../security-headers.js';

const worlds: AccessWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function open(settings: Record<string, string> = {}): Promise<AccessWorld> {
  const world = await openAccessWorld([], settings);
  worlds.push(world);
  return world;
}

const OWN = { host: '127.0.0.1:8080' };
const EVIL = 'https://evil.example';
const whoami = (world: AccessWorld, headers: Record<string, string>) =>
  world.ask({ method: 'GET', url: '/v1/whoami', headers });
const codeOf = async (answer: ReturnType<typeof whoami>) => {
  const { statusCode, body } = await answer;
  return statusCode === 200 ? 200 : [statusCode, JSON.parse(body).code];
};

const EVERY_ROUTE = API_ROUTES.map(({ method, path }) => ({
  method,
  url: path.replaceAll(/\{\w+\}/g, 'x'),
}));

describe('a server without keys', () => {
  let world: AccessWorld;
  beforeAll(async () => {
    world = await openAccessWorld([], { BATCH_INFER_PUBLIC_URL: 'https://batch.example/' });
  });
  afterAll(() => world.close());

  it.each([
    'localhost:8080',
    'LOCALHOST.',
    '127.0.0.1',
    '127.9.9.9:1',
    '[::1]:8080',
    '2130706433',
    'batch.example:444',
    'Batch.Example.',
  ])('answers to %s', async (host) => {
    expect(await codeOf(whoami(world, { host }))).toBe(200);
  });

  it.each(['rebind.evil.example:8080', 'localhost.evil.example', '10.0.0.1', '0.0.0.0:8080', 'a b'])(
    'does not answer to the host %j, and says which setting would let it',
    async (host) => {
      const answer = await whoami(world, { host });
      expect([answer.statusCode, answer.json()]).toMatchObject([
        421,
        { code: 'misdirected_request', detail: expect.stringContaining('--public-url') },
      ]);
      expect(answer.headers['x-should-retry']).toBe('false');
    },
  );

  it('answers no page whose name was rebound to it, on any route', async () => {
    for (const route of [
      ...EVERY_ROUTE,
      { method: 'get', url: '/' },
      { method: 'options', url: '/v1/jobs' },
    ]) {
      const host = 'rebind.evil.example:8080';
      const headers = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
      const answer = await world.ask({ ...route, headers });
      expect([route, answer.statusCode]).toEqual([route, 421]);
    }
  });

  it('answers no page of another origin, on any route', async () => {
    for (const route of EVERY_ROUTE) {
      const answer = await world.ask({ ...route, headers: { ...OWN, origin: EVIL } });
      expect([route, answer.statusCode]).toEqual([route, 403]);
      expect(answer.headers).not.toHaveProperty('access-control-allow-origin');
    }
  });

  it.each([
    [{ origin: EVIL }],
    [{ origin: 'null' }],
    [{ origin: '' }],
    [{ origin: 'http://127.0.0.1:3000' }],
    [{ origin: 'http://localhost:8080' }],
    [{ origin: 'https://127.0.0.1:8080' }],
    [{ origin: 'http://127.0.0.1:8080.evil.example' }],
    [{ origin: 'http://127.0.0.1:8080, https://evil.example' }],
    [{ 'sec-fetch-site': 'cross-site' }],
    [{ 'sec-fetch-site': 'same-site' }],
    [{ 'sec-fetch-site': 'something-new' }],
    [{ origin: 'http://127.0.0.1:8080', 'sec-fetch-site': 'cross-site' }],
  ])('refuses a request with %j', async (headers) => {
    const answer = await whoami(world, { ...OWN, ...headers });
    expect([answer.statusCode, answer.json()]).toMatchObject([
      403,
      { code: 'origin_not_allowed', detail: expect.stringContaining('--cors-origin') },
    ]);
  });

  it.each([
    [{}],
    [{ origin: 'http://127.0.0.1:8080', 'sec-fetch-site': 'same-origin' }],
    [{ origin: 'https://batch.example', 'sec-fetch-site': 'same-origin' }],
    [{ 'sec-fetch-site': 'none' }],
  ])('answers programs, its own pages and whoever types its address: %j', async (headers) => {
    expect(await codeOf(whoami(world, { ...OWN, ...headers }))).toBe(200);
  });

  it('stores nothing of a form that a page of another origin sends', async () => {
    const form = [
      '--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
      '--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\r\n--x--\r\n',
    ].join('');
    const answer = await world.ask({
      method: 'POST',
      url: '/v1/files',
      headers: { ...OWN, origin: EVIL, 'content-type': 'multipart/form-data; boundary=x' },
      payload: form,
    });
    expect(answer.statusCode).toBe(403);
    const files = await world.ask({ method: 'GET', url: '/v1/files', headers: OWN });
    expect(files.json().data).toEqual([]);
  });

  it.each([
    ['none, as HTTP/1.0 allows', 'GET /v1/whoami HTTP/1.0\r\n\r\n', 200],
    ['a foreign one, in HTTP/1.0', 'GET /v1/whoami HTTP/1.0\r\nHost: evil.example\r\n\r\n', 421],
    ['none, in HTTP/1.1', 'GET /v1/whoami HTTP/1.1\r\n\r\n', 400],
    ['an empty one', 'GET /v1/whoami HTTP/1.1\r\nHost:\r\n\r\n', 421],
    ['a second one', 'GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n', 421],
    ['another in its target', 'GET http://evil.example/v1/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n', 421],
    ['its own in its target', 'GET http://localhost/v1/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n', 200],
  ])('judges a request by every host that it names: %s', async (_, request, status) => {
    const { fastify } = world;
    if (fastify.addresses().length === 0) await fastify.listen({ port: 0, host: '127.0.0.1' });
    const [address] = fastify.addresses();
    const socket = connect(typeof address === 'object' ? address.port : 0, '127.0.0.1');
    await once(socket, 'connect');
    socket.end(request.replace(/\r\n\r\n$/, '\r\nConnection: close\r\n\r\n'));
    expect((await text(socket)).slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
  });
});

describe('a server with keys', () => {
  it('answers under every name, and to pages that know a key', async () => {
    const world = await open();
    const { key } = await world.makeKey({ scopes: ['admin'] });
    const foreign = { host: 'batch.internal', origin: EVIL, 'sec-fetch-site': 'cross-site' };
    const answer = await world.ask({ method: 'GET', url: '/v1/whoami', key, headers: foreign });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers).not.toHaveProperty('access-control-allow-origin');
    expect(await codeOf(whoami(world, foreign))).toEqual([401, 'missing_api_key']);
  });
});

describe('an origin of --cors-origin', () => {
  const settings = { BATCH_INFER_CORS_ORIGIN: 'https://app.example, http://localhost:3000/' };
  const page = { ...OWN, origin: 'http://localhost:3000', 'sec-fetch-site': 'cross-site' };

  it.each([[true], [false]])('may send and read everything (with keys: %s)', async (withKeys) => {
    const world = await open(settings);
    const key = withKeys ? (await world.makeKey({ scopes: ['admin'] })).key : undefined;
    const asked = 'authorization,content-type,x-api-key,x-stainless-retry-count';
    const preflight = await world.ask({
      method: 'OPTIONS',
      url: '/v1/chat/completions',
      headers: {
        ...page,
        'access-control-request-method': 'POST',
        'access-control-request-headers': asked,
      },
    });
    expect([preflight.statusCode, preflight.body]).toEqual([204, '']);
    expect(preflight.headers).toMatchObject({
      'access-control-allow-origin': page.origin,
      'access-control-allow-headers': asked,
      'access-control-allow-methods': expect.stringContaining('POST'),
      vary: 'Origin',
    });
    for (const [url, status] of [
      ['/v1/jobs', 200],
      ['/v1/jobs/nobody', 404],
      ['/v1/nothing', 404],
    ] as const) {
      const answer = await world.ask({ method: 'GET', url, key, headers: page });
      expect([url, answer.statusCode]).toEqual([url, status]);
      expect(answer.headers).toMatchObject({ 'access-control-allow-origin': page.origin, vary: 'Origin' });
      expect(answer.headers['access-control-expose-headers']).toMatch(/x-request-id/);
      expect(answer.headers).not.toHaveProperty('access-control-allow-credentials');
    }
    const made = await world.ask({ method: 'GET', url: '/v1/jobs', headers: page });
    expect(made.statusCode).toBe(withKeys ? 401 : 200);
    expect(made.headers).toMatchObject({ 'access-control-allow-origin': page.origin });
  });

  it('gives the others nothing', async () => {
    const world = await open(settings);
    const preflight = { 'access-control-request-method': 'POST' };
    for (const origin of [EVIL, 'http://localhost:3001', 'null', 'https://sub.app.example']) {
      const ask = { method: 'OPTIONS', url: '/v1/jobs', headers: { ...OWN, origin, ...preflight } };
      const answer = await world.ask(ask);
      expect([origin, answer.statusCode]).toEqual([origin, 403]);
      expect(answer.headers).not.toHaveProperty('access-control-allow-origin');
    }
    await world.makeKey({ scopes: ['admin'] });
    world.advance(5_000);
    const ask = { method: 'OPTIONS', url: '/v1/jobs', headers: { ...OWN, origin: EVIL, ...preflight } };
    const answer = await world.ask(ask);
    expect([answer.statusCode, answer.headers.vary]).toEqual([405, 'Origin']);
    expect(answer.headers).not.toHaveProperty('access-control-allow-origin');
  });
});

it('every answer says how browsers must treat it', async () => {
  const world = await open();
  for (const url of ['/v1/jobs', '/v1/jobs/none', '/v1/%ff', '/nothing', '/healthz', '/openapi.json']) {
    expect((await world.ask({ method: 'GET', url })).headers, url).toMatchObject(SECURITY_HEADERS);
  }
});
