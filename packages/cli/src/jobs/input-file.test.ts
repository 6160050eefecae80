import { execFileSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memoryIo } from '../../test-support/fixtures.js';
import { findInput } from './input-file.js';

let folder = '';
let temporary = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-cli-'));
  temporary = join(folder, 'temporary');
  await mkdir(temporary);
  vi.stubEnv('TMPDIR', temporary);
});
afterEach(() => rm(folder, { recursive: true }));

const { signal } = new AbortController();
const find = (name: string) => findInput(name, memoryIo({}, folder));

describe('an input that can be read only once', () => {
  it('is copied, so that it can be read again, and the copy goes with the command', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    const source = await find('pipe');
    createWriteStream(join(folder, 'pipe')).end('{"a":1}\n{"a":2}\n');
    {
      await using input = await source.open(signal);
      for (const _pass of [1, 2]) expect(await readFile(input.path, 'utf8')).toBe('{"a":1}\n{"a":2}\n');
      expect(input.name).toBe('pipe');
      expect(await readdir(temporary)).toHaveLength(1);
    }
    expect(await readdir(temporary)).toEqual([]);
  });

  it('is a pipe without a writer as long as it has none, and the wait can be interrupted', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    const controller = new AbortController();
    const opening = (await find('pipe')).open(controller.signal);
    controller.abort(new Error('enough'));
    await expect(opening).rejects.toThrow('enough');
    await expect.poll(() => readdir(temporary)).toEqual([]);
  });

  it('is said to be empty when nothing came', async () => {
    await expect((await find('/dev/null')).open(signal)).rejects.toMatchObject({
      exitCode: 2,
      message: '/dev/null is empty: nothing came before its end',
    });
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    const opening = (await find('pipe')).open(signal);
    createWriteStream(join(folder, 'pipe')).end();
    await expect(opening).rejects.toThrow('pipe is empty');
    expect(await readdir(temporary)).toEqual([]);
  });
});

describe('an input', () => {
  it('that is a plain file is read where it is', async () => {
    await writeFile(join(folder, 'in.jsonl'), '{}\n');
    await using input = await (await find('in.jsonl')).open(signal);
    expect(input.path).toBe(join(folder, 'in.jsonl'));
    expect(await readdir(temporary)).toEqual([]);
  });

  it('that cannot be one is named for what it is', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
    await expect(find('nothing.jsonl')).rejects.toThrow('There is no file nothing.jsonl');
    await expect(find('.')).rejects.toThrow('. is a folder');
    await expect(find('socket')).rejects.toThrow('socket is a socket');
    await expect(find('/dev/fd/987')).rejects.toThrow('is not open');
    await new Promise((resolve) => server.close(resolve));
  });
});
