import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ControlPlane,
  parseControlPlaneConfig,
  silentLogger,
  startControlPlane,
} from '@batch-infer/control-plane';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryIo } from '../../test-support/fixtures.js';
import { runCli } from '../cli.js';

let folder: string;
let servers: ControlPlane[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'batch-infer-cli-keys-'));
  servers = [];
});

afterEach(async () => {
  for (const server of servers) await server.close();
  rmSync(folder, { recursive: true });
});

async function run(parameters: string[], environment: Record<string, string> = {}) {
  const io = memoryIo(environment, folder);
  const code = await runCli(parameters, io);
  return { code, out: io.out(), error: io.error() };
}

async function serve(): Promise<string> {
  const config = parseControlPlaneConfig({ BATCH_INFER_DATA: folder, BATCH_INFER_PORT: '0' });
  const server = await startControlPlane(config, { logger: silentLogger() });
  servers.push(server);
  return server.url;
}

describe('keys', () => {
  it('the first one is made in the data folder; with it all others through the server', async () => {
    const first = await run([
      'keys',
      'create',
      '--data',
      folder,
      '--name',
      'root',
      '--project',
      '*',
      '--scopes',
      'admin',
    ]);
    expect([first.code, first.error]).toEqual([0, expect.stringContaining('shown only now')]);
    const admin = first.out.trim();
    expect(admin).toMatch(/^bi_[0-9a-f]{32}_\w{33}$/);
    const environment = { BATCH_INFER_BASE_URL: await serve(), BATCH_INFER_API_KEY: admin };
    expect(await run(['whoami'], { BATCH_INFER_BASE_URL: environment.BATCH_INFER_BASE_URL })).toMatchObject({
      code: 4,
    });
    expect((await run(['whoami'], environment)).out).toMatch(/project {2}\*\n {2}scopes {3}runner, admin/);

    const limits = ['projects', 'limits', 'evals'];
    const set = await run(
      [...limits, '--max-running-jobs', '4', '--requests-per-minute', '600'],
      environment,
    );
    expect(set.out).toMatch(/evals +600 +4 +none/);
    await run([...limits, '--requests-per-minute', 'none'], environment);
    expect((await run(limits, environment)).out).toMatch(/evals +none +4 +none/);
    expect((await run(['projects', 'create', 'evals', '--weight', '2'], environment)).out).toMatch(
      /evals +evals +2 +none/,
    );
    const made = await run(
      ['keys', 'create', '--json', '--project', 'evals', '--expires-in', '90d'],
      environment,
    );
    const key = JSON.parse(made.out);
    expect(key).toMatchObject({ project_id: 'evals', scopes: ['read', 'write'] });
    const asUser = { ...environment, BATCH_INFER_API_KEY: key.key };
    expect((await run(['list'], asUser)).code).toBe(0);
    expect(await run(['keys', 'list'], asUser)).toMatchObject({
      code: 4,
      error: expect.stringContaining('admin'),
    });

    const rotated = await run(['keys', 'rotate', key.id, '-q', '--overlap', '0s'], environment);
    expect((await run(['whoami'], asUser)).code).toBe(4);
    expect((await run(['whoami'], { ...environment, BATCH_INFER_API_KEY: rotated.out.trim() })).code).toBe(0);
    const listed = await run(['keys', 'list'], environment);
    expect(listed).toMatchObject({ code: 0, error: '' });
    expect(listed.out).toMatch(/root +\* +admin +active/);
    const [newest = ''] = (await run(['keys', 'list', '-q'], environment)).out.split('\n');
    expect((await run(['keys', 'revoke', newest], environment)).error).toContain('revoked');
    expect((await run(['keys', 'list'], environment)).out).toMatch(/evals +read,write +revoked/);
  });

  it('of a folder in use are made through its server', async () => {
    const url = await serve();
    expect(await run(['keys', 'list', '--data', folder])).toMatchObject({
      code: 2,
      error: expect.stringContaining(url),
    });
  });

  it('the first one through a server must be able to make others', async () => {
    const environment = { BATCH_INFER_BASE_URL: await serve() };
    const refused = await run(['keys', 'create', '--name', 'ci'], environment);
    expect([refused.code, refused.error]).toEqual([2, expect.stringContaining('--scopes admin')]);
    expect((await run(['whoami'], environment)).code).toBe(0);
    const made = await run(['keys', 'create', '--scopes', 'admin'], environment);
    expect([made.code, made.error]).toEqual([0, expect.stringContaining('every request needs one')]);
    const asAdmin = { ...environment, BATCH_INFER_API_KEY: made.out.trim() };
    expect((await run(['keys', 'create', '--name', 'ci'], asAdmin)).error).not.toContain('the first key');
  });

  it('the first one in a folder may be any, and is told what it lacks', async () => {
    const made = await run(['keys', 'create', '--data', folder, '-q']);
    expect([made.code, made.error]).toEqual([0, expect.stringContaining('--scopes admin')]);
  });

  it('of a file are random: their row on stdout, the key on stderr', async () => {
    const words = ['keys', 'hash', '-q', '--name', 'ci', '--project', 'evals', '--scopes', 'read'];
    const [one, other] = [await run(words), await run(words)];
    expect(one.code).toBe(0);
    expect(one.error.trim()).toMatch(/^bi_[0-9a-f]{32}_\w{33}$/);
    expect(one.error).not.toBe(other.error);
    const hash = createHash('sha256').update(one.error.trim()).digest('hex');
    expect(JSON.parse(one.out)).toMatchObject({ name: 'ci', hash, project: 'evals', scopes: ['read'] });
  });

  it.each([
    [['keys', 'make'], /create, list, revoke, rotate, hash/],
    [['keys', 'hash', '--project', '*'], /runner and admin/],
    [['keys', 'rotate'], /needs the id/],
    [['keys', 'create', '--data', 'HERE', '--scopes', 'all'], /--scopes/],
    [['keys', 'create', '--data', 'HERE', '--expires-in', 'soon'], /--expires-in/],
    [['keys', 'create', '--data', 'HERE', '--project', 'nobody'], /No project/],
    [['projects', 'create'], /needs the id/],
  ])('%j is refused in words', async (parameters, message) => {
    const { code, error } = await run(parameters.map((each) => each.replace('HERE', folder)));
    expect([code, error]).toEqual([2, expect.stringMatching(message)]);
  });
});
