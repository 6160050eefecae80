import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeItems, ProofStack, runCli, toBatchFile, until } from './harness.js';

const DISK_BYTES = 6 * 2 ** 20;

const stack = new ProofStack();
const disk = join(stack.folder, 'data');
const filler = join(disk, 'filler');
let engine: EngineSim;

/** A small file system on the data folder; null when it is there, else why not. */
function mountSmallDisk(): string | null {
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk], { stdio: 'pipe' });
    return null;
  } catch (error) {
    return `a small disk cannot be mounted here (root can): ${String(error).slice(0, 200)}`;
  }
}

const missing = mountSmallDisk();
if (missing !== null) console.warn(`NOT PROVED, ${missing}`);

beforeAll(async () => {
  if (missing !== null) return;
  engine = await stack.engine({ slots: 8, serviceTimeMs: 40 });
  await stack.serve();
  await stack.runner(engine);
});

afterAll(async () => {
  await stack.close().catch(() => {});
  if (missing === null) execFileSync('umount', [disk]);
  rmSync(stack.folder, { recursive: true, force: true });
});

/** Takes every byte that is left. */
function fillDisk(): void {
  for (let bytes = DISK_BYTES; bytes >= 512; bytes /= 2) {
    try {
      writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' });
    } catch {
      // Less fits.
    }
  }
}

const freeDisk = (): void => rmSync(filler, { force: true });

const blobBytes = (): number =>
  readdirSync(join(disk, 'blobs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);

describe.runIf(missing === null)('the disk is full', () => {
  test('an upload that does not fit is refused with 507, and leaves nothing behind', async () => {
    const form = new FormData();
    form.set('purpose', 'batch');
    const large = toBatchFile(makeItems('large', 60_000));
    form.set('file', new File([large], 'in.jsonl'));
    const before = blobBytes();
    const answer = await fetch(`${stack.url}/v1/files`, { method: 'POST', body: form });
    expect(answer.status).toBe(507);
    expect(await answer.json()).toMatchObject({
      code: 'storage_full',
      detail: expect.stringMatching(/space/),
    });
    expect(await stack.client.get('/v1/files')).toMatchObject({ data: [] });
    await until('what had been written is gone', 5_000, () => (blobBytes() <= before ? true : null));
  });

  test('a job is refused with 507, the CLI says what to do, and jobs are taken again when there is space', async () => {
    const [item] = makeItems('refused', 1);
    const job = { endpoint: '/v1/chat/completions', items: [item] };
    const input = join(stack.folder, 'in.jsonl');
    writeFileSync(input, toBatchFile(makeItems('cli', 10)));
    fillDisk();
    const answer = await stack.client.post('/v1/jobs', job);
    expect(answer.status).toBe(507);
    const run = await runCli(['submit', input, '--base-url', stack.url], { deadlineMs: 60_000 });
    expect(run.code).toBe(9);
    expect(run.stderr).toMatch(/storage is full[\s\S]*Free some space/);
    freeDisk();
    const accepted = await stack.client.post('/v1/jobs', job);
    expect(accepted.status).toBe(202);
    const { id } = (await accepted.json()) as { id: string };
    expect((await stack.client.ended(id, 20_000)).status).toBe('succeeded');
  });

  test('a job that runs waits for space, and loses nothing', { timeout: 120_000 }, async () => {
    const items = makeItems('running', 200);
    const { id } = await stack.client.createJob('running', items);
    await until('some items are done', 10_000, async () =>
      (await stack.client.job(id)).counts.succeeded > 10 ? true : null,
    );
    fillDisk();
    const { counts } = await stack.client.job(id);
    await until('the engine has nothing to do, or everything is done', 20_000, () =>
      engine.stats().inFlight === 0 ? true : null,
    );
    const stuck = await stack.client.job(id);
    console.log(`disk full at ${counts.succeeded} of 200, ${stuck.counts.succeeded} while it is full`);
    freeDisk();
    expect((await stack.client.ended(id, 40_000)).status).toBe('succeeded');
    expect(await stack.client.check(id, items)).toMatchObject({ succeeded: 200 });
  });

  test('a server does not start, and says why', async () => {
    fillDisk();
    const run = await runCli(['serve', '--data', join(disk, 'other'), '--port', '0']);
    expect(run.code).toBe(9);
    expect(run.stderr).toMatch(/full/);
    expect(run.stderr).toMatch(/[Ff]ree some space/);
    freeDisk();
  });
});
