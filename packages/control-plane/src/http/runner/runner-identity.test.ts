import type { ApiKeyScope } from '@batch-infer/contracts/access';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reportOf, segmentOf } from '../../use-cases-fixture.js';
import { type AccessWorld, openAccessWorld } from '../auth/access-fixture.js';

/** A runner is its key: every runner route × foreign project × another key of the project × revoked or expired key. */

const protocol = { 'x-batch-infer-protocol': '1' };
const json = { ...protocol, 'content-type': 'application/json' };
const ndjson = { ...protocol, 'content-type': 'application/x-ndjson' };

let world: AccessWorld;
let shardId: string;
let jobId: string;
const keys = new Map<string, string>();

async function makeKey(name: string, project: string, scopes: ApiKeyScope[] = ['runner'], more = {}) {
  const made = await world.makeKey({ name, project_id: project, scopes, ...more });
  keys.set(name, made.key);
  return made.record.id;
}

async function makeShard(): Promise<{ jobId: string; shardId: string }> {
  const created = await world.ask({
    method: 'POST',
    url: '/v1/jobs?model=alpha-model&endpoint=/v1/completions',
    key: keys.get('client'),
    headers: ndjson,
    payload: '{"body":{"prompt":"a secret"}}\n{"body":{"prompt":"another"}}\n',
  });
  expect(created.statusCode, created.body).toBe(202);
  const id: string = created.json().id;
  const [shard] = await world.ledger.listShards({ jobId: id, fromOrdinal: 0, toOrdinal: 1 });
  if (shard === undefined) throw new Error('the job has no shard');
  return { jobId: id, shardId: shard.id };
}

const report = { ...reportOf('alpha-runner', ['alpha-model']), free_slots: 0 };

interface Route {
  readonly method: string;
  readonly url: (shard: string) => string;
  readonly headers: Record<string, string>;
  readonly payload?: (shard: string) => string | object;
}

/** What needs the lease: to everybody but its holder a shard that is not there. */
const LEASED: Readonly<Record<string, Route>> = {
  lines: {
    method: 'GET',
    url: (shard) => `/v1/runner/shards/${shard}/lines?epoch=1&runner_id=alpha-runner`,
    headers: protocol,
  },
  settle: {
    method: 'POST',
    url: (shard) => `/v1/runner/shards/${shard}/settle?epoch=1&runner_id=alpha-runner`,
    headers: ndjson,
    payload: () => Buffer.from(segmentOf([0])).toString(),
  },
  release: {
    method: 'POST',
    url: (shard) => `/v1/runner/shards/${shard}/release`,
    headers: json,
    payload: () => ({ runner_id: 'alpha-runner', epoch: 1, reason: 'drain' }),
  },
  claim: {
    method: 'POST',
    url: () => '/v1/runner/claim',
    headers: json,
    payload: (shard) => ({ runner_id: 'alpha-runner', shard_id: shard, epoch: 0 }),
  },
  renew: {
    method: 'POST',
    url: () => '/v1/runner/renew',
    headers: json,
    payload: (shard) => ({
      ...reportOf('somebody-else', []),
      leases: [{ shard_id: shard, epoch: 1 }],
    }),
  },
};

/** What speaks for a runner. */
const SPOKEN: Readonly<Record<string, Route>> = {
  session: { method: 'POST', url: () => '/v1/runner/session', headers: json, payload: () => report },
  renew: {
    method: 'POST',
    url: () => '/v1/runner/renew',
    headers: json,
    payload: () => ({ ...report, models: ['forged'], leases: [] }),
  },
};

const send = (route: Route, key: string, shard: string) =>
  world.ask({
    method: route.method,
    url: route.url(shard),
    key: keys.get(key),
    headers: route.headers,
    ...(route.payload === undefined ? {} : { payload: route.payload(shard) }),
  });

async function seen(route: Route, key: string, shard: string) {
  const { statusCode, body } = await send(route, key, shard);
  return { statusCode, body: body.replaceAll(/req_[0-9a-f]{32}/g, 'REQUEST').replaceAll(shard, 'SHARD') };
}

beforeAll(async () => {
  world = await openAccessWorld(['alpha', 'beta']);
  await makeKey('client', 'alpha', ['read', 'write']);
  await makeKey('beta client', 'beta', ['read', 'write']);
  await makeKey('all', '*', ['admin']);
  await makeKey('holder', 'alpha');
  await makeKey('another of the project', 'alpha');
  await makeKey('another of all', '*');
  await makeKey('of another project', 'beta');
  await world.revoke(await makeKey('revoked', 'alpha'));
  await makeKey('expired', 'alpha', ['runner'], { expires_in: '1m' });
  world.advance(61_000);
  ({ jobId, shardId } = await makeShard());
  const renewed = await world.ask({
    ...{ method: 'POST', url: '/v1/runner/renew', key: keys.get('holder'), headers: json },
    payload: { ...report, leases: [] },
  });
  expect(renewed.statusCode, renewed.body).toBe(200);
  const claimed = await send(LEASED.claim as Route, 'holder', shardId);
  expect(claimed.json()).toMatchObject({ outcome: 'claimed', lease: { epoch: 1 } });
});

afterAll(() => world.close());

describe('a lease', () => {
  const strangers = ['another of the project', 'another of all', 'of another project'];
  it.each(Object.keys(LEASED).flatMap((name) => strangers.map((key) => [name, key] as const)))(
    '%s with a key %s answers as for a shard that is not there',
    async (name, key) => {
      const route = LEASED[name] as Route;
      const unknown = `${shardId.slice(0, -4)}${shardId.endsWith('0000') ? '1111' : '0000'}`;
      const foreign = await seen(route, key, shardId);
      const expected = await seen(route, key, unknown);
      if (name === 'claim' && key !== 'of another project') {
        // Who may run the project's shards may know that this one was taken.
        expect(foreign.body).toBe('{"outcome":"refused","reason":"stale"}');
      } else expect(foreign).toEqual(expected);
      expect(foreign.body).not.toContain('a secret');
    },
  );

  it.each(Object.keys(LEASED).flatMap((name) => ['revoked', 'expired'].map((key) => [name, key] as const)))(
    '%s with a %s key is refused',
    async (name, key) => expect((await send(LEASED[name] as Route, key, shardId)).statusCode).toBe(401),
  );

  it('is still its holder’s after all this, who may claim it again when the answer was lost', async () => {
    expect((await send(LEASED.claim as Route, 'holder', shardId)).json()).toMatchObject({
      outcome: 'claimed',
    });
    expect((await send(LEASED.lines as Route, 'holder', shardId)).body).toContain('a secret');
    expect((await send(LEASED.settle as Route, 'holder', shardId)).json()).toMatchObject({ accepted: 1 });
    // A repeated settle is answered, and to nobody else.
    expect((await send(LEASED.settle as Route, 'holder', shardId)).json()).toMatchObject({ repeated: 1 });
    expect((await send(LEASED.settle as Route, 'another of the project', shardId)).statusCode).toBe(409);
    expect((await send(LEASED.release as Route, 'holder', shardId)).json()).toEqual({ released: true });
  });
});

describe('a live runner', () => {
  const strangers = ['another of the project', 'another of all', 'of another project'];
  it.each(Object.keys(SPOKEN).flatMap((name) => strangers.map((key) => [name, key] as const)))(
    '%s with a key %s is refused in words',
    async (name, key) => {
      const { statusCode, body } = await seen(SPOKEN[name] as Route, key, 'none');
      expect([statusCode, JSON.parse(body).code]).toEqual([409, 'runner_id_taken']);
      expect(body).toContain('start the runner again');
    },
  );

  it('of one project is seen by that project and by administrators of all', async () => {
    const bodies = async (url: string) =>
      Promise.all(
        ['client', 'beta client', 'all'].map(async (key) => {
          const { body } = await world.ask({ method: 'GET', url, key: keys.get(key) });
          return body.includes('alpha-model');
        }),
      );
    expect(await bodies('/v1/runners')).toEqual([true, false, true]);
    expect(await bodies('/v1/models')).toEqual([true, false, true]);
    const model = { method: 'GET', url: '/v1/models/alpha-model' };
    expect((await world.ask({ ...model, key: keys.get('client') })).statusCode).toBe(200);
    const foreign = await world.ask({ ...model, key: keys.get('beta client') });
    expect(foreign.statusCode).toBe(404);
    expect(foreign.body).toContain('No runner is connected.');
  });

  it('of one project is told in the reasons of that project’s jobs alone', async () => {
    const beta = await world.ask({
      method: 'POST',
      url: '/v1/jobs?model=alpha-model&endpoint=/v1/completions',
      key: keys.get('beta client'),
      headers: ndjson,
      payload: '{"body":{"prompt":"x"}}\n',
    });
    expect(beta.json().queue.waiting_for).toMatchObject([
      { code: 'no_runner_for_model', message: expect.stringContaining('No runner is connected.') },
    ]);
    const alpha = await world.ask({ method: 'GET', url: `/v1/jobs/${jobId}`, key: keys.get('client') });
    expect(alpha.json().queue.waiting_for).toMatchObject([{ code: 'runners_busy' }]);
  });
});
