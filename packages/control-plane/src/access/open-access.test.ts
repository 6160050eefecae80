import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BootError } from '../boot/boot-error.js';
import { parseControlPlaneConfig } from '../config.js';
import { DomainError } from '../errors.js';
import { type ControlPlane, startControlPlane } from '../start-control-plane.js';
import { silentLogger } from '../telemetry/logger.js';
import { createApiKey, openApiKeys } from './open-access.js';

let dataDir: string;
let servers: ControlPlane[];

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'batch-infer-keys-'));
  servers = [];
});

afterEach(async () => {
  for (const server of servers) await server.close();
  rmSync(dataDir, { recursive: true, force: true });
});

async function serve(settings: Record<string, string> = {}): Promise<string> {
  const config = parseControlPlaneConfig({ BATCH_INFER_DATA: dataDir, BATCH_INFER_PORT: '0', ...settings });
  const server = await startControlPlane(config, { logger: silentLogger() });
  servers.push(server);
  return server.url;
}

const whoami = (url: string, key?: string) =>
  fetch(`${url}/v1/whoami`, { headers: key === undefined ? {} : { 'x-api-key': key } });

it('the first key is made without a server, which then listens beyond this machine and asks for it', async () => {
  await expect(serve({ BATCH_INFER_HOST: '0.0.0.0' })).rejects.toThrow(/keys create/);
  const { key, id } = await createApiKey({ dataDir }, { name: 'first', scopes: ['admin'] });
  const url = await serve({ BATCH_INFER_HOST: '0.0.0.0' });
  expect((await whoami(url)).status).toBe(401);
  expect(await (await whoami(url, key)).json()).toEqual({
    object: 'caller',
    project_id: 'default',
    key_id: id,
    scopes: ['read', 'write', 'runner', 'admin'],
  });
});

it('keys are listed without their secrets, rotated and revoked offline', async () => {
  const keys = await openApiKeys({ dataDir });
  const made = await keys.create({ scopes: ['read'], expires_in: '90d' });
  const successor = await keys.rotate(made.id, { overlap: '0s' });
  expect(successor).toMatchObject({ scopes: ['read'], revoked_at: null });
  expect(await keys.revoke(successor.id)).toMatchObject({ id: successor.id });
  const listed = JSON.stringify(await keys.list());
  expect(listed).toContain(made.id);
  for (const { key } of [made, successor]) expect(listed).not.toContain(key.slice(key.lastIndexOf('_') + 1));
  await expect(keys.create({ project_id: 'nobody' })).rejects.toThrow(DomainError);
  await expect(keys.create({ project_id: '*' })).rejects.toThrow(/runner and admin/);
  await keys.close();
});

it('a folder that a server uses is left to it, and the way through it is told', async () => {
  const url = await serve();
  const opened = openApiKeys({ dataDir });
  await expect(opened).rejects.toBeInstanceOf(BootError);
  await expect(opened).rejects.toThrow(url);
  await expect(opened).rejects.toThrow(/--base-url/);
});

it('an owner without keys makes the first one over HTTP; from then on everybody needs one', async () => {
  const url = await serve();
  expect(await (await whoami(url)).json()).toMatchObject({ key_id: null, project_id: 'default' });
  const made = await fetch(`${url}/v1/keys`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'first', scopes: ['admin'] }),
  });
  expect([made.status, made.headers.get('cache-control')]).toEqual([201, 'no-store']);
  const { key } = await made.json();
  expect((await whoami(url)).status).toBe(401);
  expect((await whoami(url, key)).status).toBe(200);
});
