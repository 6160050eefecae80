import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sessionEvent } from '@batch-infer/contracts/runner-protocol';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BootError } from './boot/boot-error.js';
import { parseControlPlaneConfig } from './config.js';
import { type ControlPlane, startControlPlane } from './start-control-plane.js';
import { silentLogger } from './telemetry/logger.js';
import { reportOf } from './use-cases-fixture.js';

let folder: string;
let servers: ControlPlane[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'batch-infer-start-'));
  servers = [];
});

afterEach(async () => {
  for (const server of servers) await server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(settings: Record<string, string> = {}): Promise<ControlPlane> {
  const config = parseControlPlaneConfig({ BATCH_INFER_DATA: folder, BATCH_INFER_PORT: '0', ...settings });
  const server = await startControlPlane(config, { logger: silentLogger() });
  servers.push(server);
  return server;
}

const runnerHeaders = { 'x-batch-infer-protocol': '1', 'content-type': 'application/json' };

const post = (
  url: string,
  body: unknown,
  headers: Record<string, string> = runnerHeaders,
  signal?: AbortSignal,
) => fetch(url, { method: 'POST', headers, body: JSON.stringify(body), ...(signal ? { signal } : {}) });

async function refusal(settings: Record<string, string>): Promise<string> {
  const error: unknown = await start(settings).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BootError);
  return error instanceof BootError ? error.message : '';
}

describe('a control plane', () => {
  it('starts on a free port, is healthy and ready, and shows metrics', async () => {
    const { url } = await start();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: 'ok' });
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({ status: 'ready', checks: { ledger: { state: 'up' } } });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('batch_infer_ledger_up 1');
    expect(metrics).toContain('batch_infer_claims_total');
  });

  it('serves health without the api in other roles', async () => {
    const { url } = await start({ BATCH_INFER_ROLES: 'sweeper' });
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect((await fetch(`${url}/v1/jobs`)).status).toBe(404);
  });

  it('starts again on its data, at once after it was closed', async () => {
    const first = await start();
    await first.close();
    await first.close();
    await expect(fetch(`${first.url}/healthz`)).rejects.toThrow();
    const second = await start();
    expect((await fetch(`${second.url}/readyz`)).status).toBe(200);
  });

  it('boots while its brokers are away: it accepts jobs, and says that offers do not travel', async () => {
    const { url } = await start({ BATCH_INFER_KAFKA_BROKERS: '127.0.0.1:1' });
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({
      status: 'degraded',
      checks: { transport: { state: 'down' } },
    });
    const created = await post(`${url}/v1/jobs`, {
      model: 'm',
      endpoint: '/v1/chat/completions',
      input: { messages: [{ role: 'user', content: 'hello' }] },
    });
    expect(created.status).toBe(202);
    const poll = { runner_id: 'r', models: ['m'], max: 1, wait_ms: 0 };
    const refused = await (await post(`${url}/v1/runner/offers`, poll)).json();
    expect(refused.detail).toContain('--kafka-brokers');
  });

  it('closes when its signal aborts', async () => {
    const controller = new AbortController();
    const config = parseControlPlaneConfig({ BATCH_INFER_DATA: folder, BATCH_INFER_PORT: '0' });
    const server = await startControlPlane(config, { logger: silentLogger(), signal: controller.signal });
    servers.push(server);
    controller.abort();
    await server.close();
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
  });

  it('answers a waiting runner in the moment work comes', async () => {
    const { url } = await start();
    const poll = post(`${url}/v1/runner/offers`, { runner_id: 'r', models: ['m'], max: 4, wait_ms: 30_000 });
    const created = await post(`${url}/v1/jobs`, {
      model: 'm',
      endpoint: '/v1/chat/completions',
      input: { messages: [{ role: 'user', content: 'hello' }] },
    });
    expect(created.status).toBe(202);
    expect(await (await poll).json()).toMatchObject({ offers: [{ model: 'm', items: 1 }] });
  });

  it('lets go of runners and polls when it stops', async () => {
    const server = await start();
    const session = await post(`${server.url}/v1/runner/session`, reportOf('r'));
    const reader = session.body?.pipeThrough(new TextDecoderStream()).getReader();
    const { value } = (await reader?.read()) ?? {};
    expect(sessionEvent.parse(JSON.parse(value ?? ''))).toMatchObject({
      type: 'welcome',
      transport: 'direct',
    });
    const poll = post(`${server.url}/v1/runner/offers`, {
      runner_id: 'r',
      models: ['m'],
      max: 4,
      wait_ms: 30_000,
    });
    await vi.waitFor(async () => {
      const { data } = await (await fetch(`${server.url}/v1/runners`)).json();
      expect(data).toMatchObject([{ id: 'r' }]);
    });
    await server.close();
    expect(await reader?.read()).toMatchObject({ done: true });
    // Answered with nothing when it waited already, told to go elsewhere when it had only just come.
    expect([200, 503]).toContain((await poll).status);
  });
});

describe('the runner protocol', () => {
  it('is refused in another version, naming both', async () => {
    const { url } = await start();
    for (const version of ['2', null]) {
      const headers = {
        'content-type': 'application/json',
        ...(version ? { 'x-batch-infer-protocol': version } : {}),
      };
      const answer = await post(`${url}/v1/runner/claim`, {}, headers);
      expect(answer.status).toBe(400);
      const problem = await answer.json();
      expect(problem.code).toBe('protocol_mismatch');
      expect(problem.detail).toContain(version ? 'version 2' : 'no version');
      expect(problem.detail).toContain('speaks version 1');
    }
  });

  it('refuses bad requests with the name of what is wrong', async () => {
    const { url } = await start();
    const answer = await post(`${url}/v1/runner/claim`, { runner_id: 'r', epoch: 'zero' });
    expect(answer.status).toBe(400);
    expect((await answer.json()).errors.map(({ param }: { param: string }) => param)).toEqual([
      'shard_id',
      'epoch',
    ]);
    const stale = await fetch(`${url}/v1/runner/shards/shard_x/lines?epoch=1`, { headers: runnerHeaders });
    expect(stale.status).toBe(409);
    expect((await stale.json()).code).toBe('lease_lost');
  });
});

describe('a server with API keys', () => {
  const keys = [
    { id: 'all', project: 'alpha', scopes: [] },
    { id: 'reader', project: 'alpha', scopes: ['read'] },
    { id: 'runner', project: 'machines', scopes: ['runner'] },
  ].map((key) => ({ ...key, hash: createHash('sha256').update(`secret-${key.id}`).digest('hex') }));

  it('asks for one, and for the scope', async () => {
    const file = join(folder, 'keys.json');
    writeFileSync(file, JSON.stringify(keys));
    const { url } = await start({ BATCH_INFER_API_KEYS_FILE: file });
    const list = (headers: Record<string, string>) => fetch(`${url}/v1/jobs`, { headers });
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await (await list({})).json()).toMatchObject({ status: 401, code: 'missing_api_key' });
    const wrong = await list({ authorization: 'Bearer secret-other' });
    expect(await wrong.json()).toMatchObject({ status: 401, code: 'invalid_api_key' });
    expect((await list({ authorization: 'Bearer secret-reader' })).status).toBe(200);
    expect((await list({ 'x-api-key': 'secret-all' })).status).toBe(200);
    expect((await list({ 'x-api-key': 'secret-runner' })).status).toBe(403);

    const poll = { runner_id: 'r', models: ['m'], max: 1, wait_ms: 0 };
    const asReader = { ...runnerHeaders, authorization: 'Bearer secret-reader' };
    expect((await post(`${url}/v1/runner/offers`, poll, asReader)).status).toBe(403);
    const asRunner = { ...runnerHeaders, authorization: 'Bearer secret-runner' };
    expect((await post(`${url}/v1/runner/offers`, poll, asRunner)).status).toBe(200);
  });

  it('keeps projects apart', async () => {
    const file = join(folder, 'keys.json');
    writeFileSync(
      file,
      JSON.stringify([...keys, { ...keys[0], id: 'beta', project: 'beta', hash: hashOf('b') }]),
    );
    const { url } = await start({ BATCH_INFER_API_KEYS_FILE: file });
    const created = await post(
      `${url}/v1/jobs`,
      {
        model: 'm',
        endpoint: '/v1/chat/completions',
        input: { messages: [{ role: 'user', content: 'hello' }] },
      },
      { 'content-type': 'application/json', authorization: 'Bearer secret-all' },
    );
    expect(created.status).toBe(202);
    const { id } = await created.json();
    const read = (key: string, jobId: string) =>
      fetch(`${url}/v1/jobs/${jobId}`, { headers: { authorization: `Bearer ${key}` } });
    expect((await read('secret-all', id)).status).toBe(200);
    const foreign = await read('b', id);
    const unknown = await read('b', 'job_00000000000000000000000000000000');
    expect([foreign.status, unknown.status]).toEqual([404, 404]);
  });

  const hashOf = (key: string) => createHash('sha256').update(key).digest('hex');
});

describe('what keeps a control plane from starting is said in words', () => {
  it('a data folder that another server uses, with its address', async () => {
    const { url } = await start();
    const message = await refusal({});
    expect(message).toContain(url);
    expect(message).toContain(folder);
  });

  it('a port that is taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const address = other.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    expect(await refusal({ BATCH_INFER_PORT: String(port) })).toMatch(/is taken.*--port/);
    other.close();
    // Nothing is left locked.
    await start();
  });

  it('an address beyond this machine without keys', async () => {
    expect(await refusal({ BATCH_INFER_HOST: '0.0.0.0' })).toMatch(/without API keys.*--api-keys-file/);
  });

  it('a data folder that cannot be made', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    expect(await refusal({ BATCH_INFER_DATA: join(file, 'below') })).toMatch(/cannot be written.*--data/);
  });

  it('a database that does not answer, without its password', async () => {
    const message = await refusal({ BATCH_INFER_DATABASE_URL: 'postgres://user:hunter2@127.0.0.1:1/jobs' });
    expect(message).toMatch(/database jobs at 127\.0\.0\.1:1.*ECONNREFUSED.*--database-url/);
    expect(message).not.toContain('hunter2');
  });

  it('Kafka settings that are wrong', async () => {
    const message = await refusal({
      BATCH_INFER_KAFKA_BROKERS: '127.0.0.1:1',
      BATCH_INFER_KAFKA_PARTITIONS: 'many',
    });
    expect(message).toContain('BATCH_INFER_KAFKA_PARTITIONS');
  });

  it('a file of keys that is not one', async () => {
    const file = join(folder, 'keys.json');
    writeFileSync(file, 'no keys');
    expect(await refusal({ BATCH_INFER_API_KEYS_FILE: file })).toMatch(
      /neither a JSON array.*--api-keys-file/,
    );
  });
});
