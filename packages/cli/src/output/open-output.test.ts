import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryIo } from '../../test-support/fixtures.js';
import { findFile } from '../files/named-file.js';
import { findInput } from '../jobs/input-file.js';
import { openOutput } from './open-output.js';
import type { ResultOutput } from './result-output.js';
import { ResultStream } from './result-stream.js';

// Nothing here opens a device by way of -o: if that went wrong, it would replace a device of the machine.

let folder = '';
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'batch-infer-cli-')));
});
afterEach(() => rm(folder, { recursive: true }));

const io = () => memoryIo({}, folder);
const { signal } = new AbortController();
const owner = { job_id: 'job_1', format: 'native' };
const path = (name: string) => join(folder, name);
const read = (name: string) => readFile(path(name), 'utf8');

/** Writes two lines as a command does. */
async function deliver(output: ResultOutput, until = signal): Promise<void> {
  await output.begin(owner, until);
  await output.writeLine('{"index":0}');
  await output.writeLine('{"index":1}');
  await output.finish();
}
const DELIVERED = '{"index":0}\n{"index":1}\n';

describe('an output that is a link', () => {
  it('is followed: what it leads to gets the results, and the link stays', async () => {
    await mkdir(path('elsewhere'));
    await writeFile(path('elsewhere/real.jsonl'), 'old\n');
    await symlink('elsewhere/real.jsonl', path('one.jsonl'));
    await symlink(path('one.jsonl'), path('two.jsonl'));
    await deliver(await openOutput('two.jsonl', io()));
    expect(await read('elsewhere/real.jsonl')).toBe(DELIVERED);
    expect(await readlink(path('two.jsonl'))).toBe(path('one.jsonl'));
    expect(await readlink(path('one.jsonl'))).toBe('elsewhere/real.jsonl');
    expect((await readdir(folder)).toSorted()).toEqual(['elsewhere', 'one.jsonl', 'two.jsonl']);
    expect(await readdir(path('elsewhere'))).toEqual(['real.jsonl']);
  });

  it('may lead to nothing yet, but not in a circle', async () => {
    await symlink('later.jsonl', path('link.jsonl'));
    await deliver(await openOutput('link.jsonl', io()));
    expect(await read('later.jsonl')).toBe(DELIVERED);
    expect(await readlink(path('link.jsonl'))).toBe('later.jsonl');
    await symlink('b', path('a'));
    await symlink('a', path('b'));
    await expect(openOutput('a', io())).rejects.toMatchObject({ exitCode: 2, message: /circle/ });
  });

  it('is no way round the parts of an interrupted run', async () => {
    await symlink('real.jsonl', path('link.jsonl'));
    const first = await openOutput('link.jsonl', io());
    await first.begin(owner, signal);
    await first.writeLine('{"index":0}');
    await first[Symbol.asyncDispose]();
    const second = await openOutput('real.jsonl', io());
    expect(await second.begin(owner, signal)).toBe(1);
    await second[Symbol.asyncDispose]();
  });
});

describe('a file that must stay the one it is', () => {
  it('is written over where it has other names', async () => {
    await writeFile(path('a.jsonl'), 'old\n');
    await link(path('a.jsonl'), path('b.jsonl'));
    await deliver(await openOutput('a.jsonl', io()));
    expect([await read('a.jsonl'), await read('b.jsonl')]).toEqual([DELIVERED, DELIVERED]);
    expect((await readdir(folder)).toSorted()).toEqual(['a.jsonl', 'b.jsonl']);
  });

  it('keeps who may read it', async () => {
    await writeFile(path('out.jsonl'), 'old\n');
    await chmod(path('out.jsonl'), 0o600);
    await deliver(await openOutput('out.jsonl', io()));
    expect((await stat(path('out.jsonl'))).mode & 0o777).toBe(0o600);
  });

  it('is not replaced when it becomes a pipe while the job runs', async () => {
    const output = await openOutput('out.jsonl', io());
    await output.begin(owner, signal);
    await output.writeLine('{"index":0}');
    execFileSync('mkfifo', [path('out.jsonl')]);
    const reader = readFile(path('out.jsonl'), 'utf8');
    await output.finish();
    expect(await reader).toBe('{"index":0}\n');
    expect((await stat(path('out.jsonl'))).isFIFO()).toBe(true);
  });
});

describe('an output that is a pipe', () => {
  it('gets the lines, and stays a pipe; nothing is left beside it', async () => {
    execFileSync('mkfifo', [path('pipe')]);
    const reader = readFile(path('pipe'), 'utf8');
    await deliver(await openOutput('pipe', io()));
    expect(await reader).toBe(DELIVERED);
    expect((await stat(path('pipe'))).isFIFO()).toBe(true);
    expect(await readdir(folder)).toEqual(['pipe']);
  });

  it('is waited for until it has a reader, and the wait can be interrupted', async () => {
    execFileSync('mkfifo', [path('pipe')]);
    const late = await openOutput('pipe', io());
    const delivered = deliver(late);
    expect(await readFile(path('pipe'), 'utf8')).toBe(DELIVERED);
    await delivered;
    const controller = new AbortController();
    const never = deliver(await openOutput('pipe', io()), controller.signal);
    controller.abort(new Error('enough'));
    await expect(never).rejects.toThrow('enough');
  });

  it('says so when its reader goes away', async () => {
    execFileSync('mkfifo', [path('pipe')]);
    const output = await openOutput('pipe', io());
    const reader = openSync(path('pipe'), constants.O_RDONLY | constants.O_NONBLOCK);
    await output.begin(owner, signal);
    closeSync(reader);
    const line = 'x'.repeat(100_000);
    const writing = async () => {
      for (let lines = 0; lines < 100; lines += 1) await output.writeLine(line);
      await output.finish();
    };
    await expect(writing()).rejects.toThrow('its reader is gone');
    await output[Symbol.asyncDispose]();
  });
});

describe('an output that is a device', () => {
  it('is known as one, also behind a link', async () => {
    await symlink('/dev/null', path('link'));
    expect(await findFile('/dev/null', folder)).toMatchObject({ kind: 'stream', path: '/dev/null' });
    expect(await findFile('link', folder)).toMatchObject({ kind: 'stream', path: '/dev/null' });
  });

  it('is written to, and what it answers is told', async () => {
    await deliver(new ResultStream('/dev/null', '/dev/null', io()));
    await expect(deliver(new ResultStream('/dev/full', '/dev/full', io()))).rejects.toMatchObject({
      code: 'ENOSPC',
    });
  });
});

describe('an output that the shell has opened', () => {
  it.each(['-', '/dev/stdout', '/dev/fd/1', '/proc/self/fd/1', 'link'])(
    '%s is standard output',
    async (name) => {
      await symlink('/dev/stdout', path('link'));
      const output = io();
      const opened = await openOutput(name, output);
      expect(opened.isStandardOutput).toBe(true);
      await deliver(opened);
      expect(output.out()).toBe(DELIVERED);
    },
  );

  it('is refused where it is not open', async () => {
    await expect(openOutput('/dev/fd/987', io())).rejects.toMatchObject({
      exitCode: 2,
      message: '/dev/fd/987 is not open: the shell gave this command no descriptor 987',
    });
  });
});

describe('an output that cannot be written', () => {
  it('is named for what it is', async () => {
    await mkdir(path('folder'));
    await symlink('folder', path('link'));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path('socket'), resolve));
    for (const name of ['folder', 'folder/', 'link', 'missing/'])
      await expect(openOutput(name, io()), name).rejects.toMatchObject({
        exitCode: 2,
        message: /is a folder/,
      });
    await expect(openOutput('socket', io())).rejects.toThrow('Cannot write socket: it is a socket');
    await expect(openOutput('', io())).rejects.toThrow('-o needs the name of a file');
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('an output that is the input', () => {
  const INPUT = '{"custom_id":"precious"}\n';
  beforeEach(async () => {
    await mkdir(path('data'));
    await writeFile(path('data/in.jsonl'), INPUT);
    await symlink('data', path('alias'));
    await symlink('data/in.jsonl', path('link.jsonl'));
    await link(path('data/in.jsonl'), path('hard.jsonl'));
  });

  it.each([
    'data/in.jsonl',
    './data/../data/in.jsonl',
    'data//in.jsonl',
    'alias/in.jsonl',
    'link.jsonl',
    'hard.jsonl',
  ])('is refused as %s, and the input keeps its bytes', async (name) => {
    for (const output of ['data/in.jsonl', name, path(name)]) {
      const input = await findInput(name, io());
      await expect(openOutput(output, io(), input), output).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringContaining('would be written over the input'),
      });
    }
    expect(await read('data/in.jsonl')).toBe(INPUT);
    expect(await readdir(path('data'))).toEqual(['in.jsonl']);
  });

  it.each(['out.jsonl.part', 'out.jsonl.part.json'])(
    'is refused where %s, through which it would be made, is the input',
    async (name) => {
      await writeFile(path(name), INPUT);
      const input = await findInput(name, io());
      await expect(openOutput('out.jsonl', io(), input)).rejects.toThrow('written over the input');
      expect(await read(name)).toBe(INPUT);
    },
  );

  it('is refused where a shell appends standard output to it', async () => {
    const input = await findInput('data/in.jsonl', io());
    const appending = { ...io(), outputIdentity: () => input.identity };
    await expect(openOutput('-', appending, input)).rejects.toThrow('written over the input');
  });

  it('is no other file of the same content', async () => {
    await writeFile(path('copy.jsonl'), INPUT);
    await deliver(await openOutput('copy.jsonl', io(), await findInput('data/in.jsonl', io())));
    expect(await read('copy.jsonl')).toBe(DELIVERED);
  });
});
