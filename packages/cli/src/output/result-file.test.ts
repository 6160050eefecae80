import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryIo } from '../../test-support/fixtures.js';
import { openOutput } from './open-output.js';
import type { ResultOutput } from './result-output.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-cli-'));
});
afterEach(async () => {
  await chmod(folder, 0o700);
  await rm(folder, { recursive: true });
});

const { signal } = new AbortController();
const prepare = (name = 'out.jsonl') => openOutput(name, memoryIo({}, folder));
const begin = (file: ResultOutput, job_id = 'job_1', format = 'native') =>
  file.begin({ job_id, format }, signal);
const read = (name: string) => readFile(join(folder, name), 'utf8');

describe('a result file', () => {
  it('appears under its name only when it is whole', async () => {
    const file = await prepare();
    await begin(file);
    await file.writeLine('{"index":0}');
    expect(await readdir(folder)).not.toContain('out.jsonl');
    await file.writeLine('{"index":1}');
    await file.finish();
    expect(await read('out.jsonl')).toBe('{"index":0}\n{"index":1}\n');
    expect(await readdir(folder)).toEqual(['out.jsonl']);
  });

  it('goes on behind the last whole line of an interrupted run of the same job', async () => {
    await using first = await prepare();
    await begin(first);
    await first.writeLine('{"index":0}');
    await first[Symbol.asyncDispose]();
    await writeFile(join(folder, 'out.jsonl.part'), '{"index":0}\n{"index":1}\n{"ind');
    const second = await prepare();
    expect(await begin(second)).toBe(2);
    await second.writeLine('{"index":2}');
    await second.finish();
    expect(await read('out.jsonl')).toBe('{"index":0}\n{"index":1}\n{"index":2}\n');
  });

  it.each([
    ['another job', 'job_2', 'native'],
    ['another format', 'job_1', 'openai'],
  ])('starts anew for %s', async (_name, jobId, format) => {
    await using first = await prepare();
    await begin(first);
    await first.writeLine('{"old":true}');
    await first[Symbol.asyncDispose]();
    const second = await prepare();
    expect(await begin(second, jobId, format)).toBe(0);
    await second.writeLine('{"new":true}');
    await second.finish();
    expect(await read('out.jsonl')).toBe('{"new":true}\n');
  });

  it('replaces an older file of that name, at the end only', async () => {
    await writeFile(join(folder, 'out.jsonl'), 'old\n');
    const file = await prepare();
    await begin(file);
    expect(await read('out.jsonl')).toBe('old\n');
    await file.finish();
    expect(await read('out.jsonl')).toBe('');
  });

  it('leaves nothing behind when nothing was begun', async () => {
    await prepare();
    expect(await readdir(folder)).toEqual([]);
  });

  it('finds out beforehand that it cannot be written, and says why', async () => {
    await mkdir(join(folder, 'dir'));
    await writeFile(join(folder, 'plain'), '');
    await expect(prepare('dir')).rejects.toMatchObject({
      exitCode: 2,
      message: 'Cannot write dir: it is a folder',
    });
    await expect(prepare('nowhere/out.jsonl')).rejects.toThrow(/there is no folder .*nowhere/);
    await expect(prepare('plain/out.jsonl')).rejects.toThrow(/is not a folder/);
  });
});
