import type { ApiKeyScope, CreatedApiKey } from '@batch-infer/contracts/access';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AccessWorld, openAccessWorld } from '../auth/access-fixture.js';

let world: AccessWorld;
let root: string;

beforeEach(async () => {
  world = await openAccessWorld(['a']);
  root = (await world.makeKey({ project_id: '*', scopes: ['admin'] })).key;
});

afterEach(() => world.close());

const post = (url: string, key: string, payload: object = {}) =>
  world.ask({ method: 'POST', url, key, payload, headers: { 'content-type': 'application/json' } });

async function keyOf(project: string, scopes: ApiKeyScope[]): Promise<CreatedApiKey> {
  const made = await post('/v1/keys', root, { project_id: project, scopes });
  expect(made.statusCode, made.body).toBe(201);
  return made.json();
}

const whoami = async (key: string) => (await world.ask({ method: 'GET', url: '/v1/whoami', key })).json();

describe('an administrator of the server', () => {
  it('makes projects, once each, and changes them', async () => {
    const project = { id: 'b', weight: 3, max_running_items: 1_000 };
    const made = await post('/v1/projects', root, project);
    expect([made.statusCode, made.json()]).toMatchObject([201, { object: 'project', name: 'b', ...project }]);
    const again = await post('/v1/projects', root, project);
    expect([again.statusCode, again.headers['idempotent-replayed']]).toEqual([200, 'true']);
    expect((await post('/v1/projects', root, { id: 'b' })).json()).toMatchObject({ code: 'project_exists' });
    const changed = await post('/v1/projects/b', root, { weight: 0.5, max_running_items: null });
    expect(changed.json()).toMatchObject({ weight: 0.5, max_running_items: null });
    const listed = await world.ask({ method: 'GET', url: '/v1/projects', key: root });
    expect(listed.json().data.map(({ id }: { id: string }) => id)).toEqual(['a', 'b', 'default']);
  });

  it.each([
    [{ id: '../a' }, 'id'],
    [{ id: 'c', weight: 0 }, 'weight'],
    [{ id: 'c', max_running_items: 0 }, 'max_running_items'],
    [{ id: 'c', max_running_items: Number.MAX_SAFE_INTEGER }, 'max_running_items'],
    [{ id: 'c', color: 'red' }, 'color'],
  ])('is told what is wrong with %j', async (project, param) => {
    expect((await post('/v1/projects', root, project)).json()).toMatchObject({ status: 400, param });
  });

  it('has no jobs or files', async () => {
    const listed = await world.ask({ method: 'GET', url: '/v1/jobs', key: root });
    expect(listed.json()).toMatchObject({ status: 403, code: 'insufficient_scope' });
    expect(await whoami(root)).toMatchObject({ project_id: '*', scopes: ['runner', 'admin'] });
  });

  it('makes keys that may what they are for, and shows them once', async () => {
    const made = await keyOf('a', ['read']);
    expect(made.key).toMatch(/^bi_[0-9a-f]{32}_[0-9A-Za-z]{33}$/);
    expect(await whoami(made.key)).toMatchObject({ project_id: 'a', key_id: made.id, scopes: ['read'] });
    const listed = await world.ask({ method: 'GET', url: '/v1/keys', key: root });
    expect(listed.body).toContain(made.id);
    expect(listed.body).not.toContain(made.key.slice(-33));
    expect(JSON.stringify(await world.ledger.listApiKeys({ projectId: null }))).not.toContain(
      made.key.slice(-33),
    );
  });
});

describe('an administrator of a project', () => {
  it('makes keys of that project, and no others', async () => {
    const { key } = await keyOf('a', ['admin']);
    expect((await post('/v1/keys', key)).json()).toMatchObject({
      project_id: 'a',
      scopes: ['read', 'write'],
    });
    for (const project_id of ['default', '*', 'nobody']) {
      expect((await post('/v1/keys', key, { project_id, scopes: ['runner'] })).statusCode).toBe(404);
    }
  });

  it('sees its own project, names it, but does not set its share', async () => {
    const { key } = await keyOf('a', ['admin']);
    const listed = await world.ask({ method: 'GET', url: '/v1/projects', key });
    expect(listed.json().data).toMatchObject([{ id: 'a' }]);
    expect((await post('/v1/projects/a', key, { name: 'Alpha' })).json()).toMatchObject({ name: 'Alpha' });
    expect((await post('/v1/projects/a', key, { weight: 100 })).statusCode).toBe(403);
    expect((await post('/v1/projects', key, { id: 'z' })).statusCode).toBe(403);
  });
});

describe('a rotation', () => {
  it('leaves both keys working for the overlap, then the new one alone', async () => {
    const old = await keyOf('a', ['read']);
    const next: CreatedApiKey = (await post(`/v1/keys/${old.id}/rotate`, root, { overlap: '1h' })).json();
    expect([await whoami(old.key), await whoami(next.key)]).toMatchObject([
      { key_id: old.id },
      { key_id: next.id },
    ]);
    world.advance(3_600_000);
    expect(await whoami(old.key)).toMatchObject({ status: 401 });
    expect(await whoami(next.key)).toMatchObject({ key_id: next.id });
  });

  it('of a key whose successor is in use is refused', async () => {
    const old = await keyOf('a', ['read']);
    const next: CreatedApiKey = (await post(`/v1/keys/${old.id}/rotate`, root)).json();
    await whoami(next.key);
    await expect
      .poll(async () => (await world.ledger.getApiKey({ id: next.id }))?.lastUsedAtMs ?? null)
      .not.toBeNull();
    expect((await post(`/v1/keys/${old.id}/rotate`, root)).json()).toMatchObject({
      status: 409,
      code: 'key_already_rotated',
    });
  });
});

it('a revoked key is refused at once where it was revoked', async () => {
  const { id, key } = await keyOf('a', ['read', 'admin']);
  expect((await world.ask({ method: 'DELETE', url: `/v1/keys/${id}`, key })).json()).toMatchObject({ id });
  expect(await whoami(key)).toMatchObject({ status: 401, code: 'invalid_api_key' });
});

describe('the first key of a server', () => {
  const bare = async (request: { payload?: object; headers?: Record<string, string> }) => {
    const open = await openAccessWorld([]);
    try {
      const answer = await open.ask({ method: 'POST', url: '/v1/keys', ...request });
      return [answer.statusCode, answer.json(), await open.ledger.hasApiKeys()];
    } finally {
      await open.close();
    }
  };

  it.each([[{}], [{ scopes: ['read', 'write'] }], [{ scopes: ['runner'] }]])(
    'is not made with %j, which would lock its owner out',
    async (payload) => {
      const detail = expect.stringContaining('"scopes": ["admin"]');
      expect(await bare({ payload })).toMatchObject([400, { param: 'scopes', detail }, false]);
    },
  );

  it.each([[undefined], ['application/json'], ['text/plain']])(
    'is not made without a body (content type %s)',
    async (type) => {
      const headers = type === undefined ? {} : { 'content-type': type };
      expect(await bare({ headers })).toMatchObject([400, { code: 'invalid_request' }, false]);
    },
  );

  it('is an administrator, who makes the others', async () => {
    expect(await bare({ payload: { scopes: ['admin'] } })).toMatchObject([201, { scopes: ['admin'] }, true]);
  });
});

it('no key is made without a JSON body', async () => {
  const answer = await world.ask({ method: 'POST', url: '/v1/keys', key: root });
  expect([answer.statusCode, answer.json()]).toMatchObject([400, { code: 'invalid_request' }]);
});

it('metrics are for everybody who reaches them, or for keys of all projects', async () => {
  const metrics = async (from: AccessWorld, key?: string) =>
    (await from.ask({ method: 'GET', url: '/metrics', key })).statusCode;
  expect(await metrics(world)).toBe(200);
  const guarded = await openAccessWorld(['a'], { BATCH_INFER_METRICS_ACCESS: 'key' });
  try {
    expect(await metrics(guarded)).toBe(200);
    const runner = await guarded.makeKey({ project_id: '*', scopes: ['runner'] });
    const tenant = await guarded.makeKey({ project_id: 'a', scopes: ['admin'] });
    guarded.advance(5_000);
    expect(await metrics(guarded)).toBe(401);
    expect(await metrics(guarded, tenant.key)).toBe(403);
    expect(await metrics(guarded, runner.key)).toBe(200);
    expect((await guarded.ask({ method: 'GET', url: '/readyz' })).statusCode).toBe(200);
  } finally {
    await guarded.close();
  }
});
