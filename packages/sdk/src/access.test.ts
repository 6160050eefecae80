import { expect, it } from 'vitest';
import { FakeServer, type SeenRequest, sendJson } from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';

const wireKey = {
  id: 'key_1',
  object: 'api_key',
  name: 'ci',
  project_id: 'a',
  scopes: ['read'],
  created_at: '2026-01-01T00:00:00.000Z',
  expires_at: null,
  revoked_at: null,
  last_used_at: '2026-01-02T00:00:00.000Z',
  rotated_to: null,
};
const wireProject = {
  id: 'a',
  object: 'project',
  name: 'A',
  weight: 2,
  max_running_items: null,
  created_at: '2026-01-01T00:00:00.000Z',
};

const callOf = ({ method, path, body }: SeenRequest) => [
  method,
  path,
  ...(body === '' ? [] : [JSON.parse(body)]),
];

it('keys are made, listed, rotated and revoked', async () => {
  await using server = await FakeServer.start((request, response) =>
    sendJson(response, 200, request.method === 'GET' ? { data: [wireKey] } : { ...wireKey, key: 'bi_x' }),
  );
  const { keys } = new BatchInfer({ baseUrl: server.url });
  const made = await keys.create({ name: 'ci', projectId: 'a', scopes: ['read'], expiresIn: '90d' });
  expect(made).toMatchObject({ id: 'key_1', key: 'bi_x', projectId: 'a', expiresAt: null });
  expect((await keys.list())[0]).toMatchObject({ lastUsedAt: new Date('2026-01-02T00:00:00Z') });
  await keys.rotate('key_1', { overlap: '1h' });
  await keys.revoke('key_1');
  expect(server.requests.map(callOf)).toEqual([
    ['POST', '/v1/keys', { name: 'ci', project_id: 'a', scopes: ['read'], expires_in: '90d' }],
    ['GET', '/v1/keys'],
    ['POST', '/v1/keys/key_1/rotate', { overlap: '1h' }],
    ['DELETE', '/v1/keys/key_1'],
  ]);
});

it('a create whose answer was lost is not repeated: nobody would know the first key', async () => {
  await using server = await FakeServer.start((_request, response) => sendJson(response, 503, {}));
  await expect(new BatchInfer({ baseUrl: server.url }).keys.create()).rejects.toThrow();
  expect(server.requests).toHaveLength(1);
});

it('projects are made, changed and listed; a key can ask whose it is', async () => {
  await using server = await FakeServer.start((request, response) => {
    const caller = { object: 'caller', project_id: 'a', key_id: 'key_1', scopes: ['read'] };
    if (request.path === '/v1/whoami') return sendJson(response, 200, caller);
    return sendJson(response, 200, request.method === 'GET' ? { data: [wireProject] } : wireProject);
  });
  const client = new BatchInfer({ baseUrl: server.url });
  expect(await client.projects.create('a', { weight: 2 })).toMatchObject({ id: 'a', weight: 2 });
  await client.projects.update('a', { maxRunningItems: null });
  expect(await client.projects.list()).toHaveLength(1);
  expect(await client.whoami()).toEqual({ projectId: 'a', keyId: 'key_1', scopes: ['read'] });
  expect(server.requests.map(callOf)).toEqual([
    ['POST', '/v1/projects', { id: 'a', weight: 2 }],
    ['POST', '/v1/projects/a', { max_running_items: null }],
    ['GET', '/v1/projects'],
    ['GET', '/v1/whoami'],
  ]);
});

it('limits of a project are read, set and lifted', async () => {
  const wire = {
    project_id: 'a',
    requests_per_minute: 600,
    max_running_jobs: null,
    max_queued_tokens: 1_000,
  };
  await using server = await FakeServer.start((_request, response) => sendJson(response, 200, wire));
  const { projects } = new BatchInfer({ baseUrl: server.url });
  const limits = { projectId: 'a', requestsPerMinute: 600, maxRunningJobs: null, maxQueuedTokens: 1_000 };
  expect(await projects.limits('a')).toEqual(limits);
  expect(await projects.setLimits('a', { requestsPerMinute: 600, maxRunningJobs: null })).toEqual(limits);
  expect(server.requests.map(callOf)).toEqual([
    ['GET', '/v1/projects/a/limits'],
    ['POST', '/v1/projects/a/limits', { requests_per_minute: 600, max_running_jobs: null }],
  ]);
});
