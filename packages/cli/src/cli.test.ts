import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MemoryIo, memoryIo, wireJob } from '../test-support/fixtures.js';
import { runCli } from './cli.js';
import { COMMANDS } from './registry.js';

let folder = '';
let server: Server | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-cli-'));
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  await rm(folder, { recursive: true });
});

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function serving(answer: Answer): Promise<string> {
  const created = createServer((request, response) => {
    request.resume().on('end', () => answer(request, response));
  });
  server = created;
  await new Promise<void>((resolve) => created.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(created.address() as AddressInfo).port}`;
}

const problem =
  (status: number, detail: string, errors: unknown[] = []): Answer =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/problem+json', 'retry-after-ms': '1' });
    response.end(
      JSON.stringify({
        detail,
        code: status === 404 ? 'not_found' : 'x',
        status,
        request_id: 'req_1',
        errors,
      }),
    );
  };

async function run(
  parameters: string[],
  environment: Record<string, string> = {},
): Promise<{ code: number; io: MemoryIo }> {
  const io = memoryIo(environment, folder);
  return { code: await runCli(parameters, io), io };
}

async function inputFile(): Promise<string> {
  const path = join(folder, 'in.jsonl');
  await writeFile(path, '{"body":{"model":"m","messages":[{"role":"user","content":"hi"}]}}\n');
  return path;
}

describe('help', () => {
  it('lists every command with a summary, and the exit codes', async () => {
    const { code, io } = await run(['--help']);
    expect(code).toBe(0);
    for (const [name, { summary }] of Object.entries(COMMANDS))
      expect(io.out()).toContain(`${name.padEnd(16)}${summary}`);
    expect(io.out()).toContain('9 unavailable after retries');
  });

  it.each(Object.keys(COMMANDS))('of %s shows its flags', async (name) => {
    const { code, io } = await run([name, '--help']);
    expect(code).toBe(0);
    expect(io.out()).toContain(`batch-infer ${name}`);
  });

  it.each([
    [['frob'], /unknown command 'frob'/],
    [['status'], /missing required argument/],
    [['run', 'x.jsonl', '--frob'], /unknown option '--frob'/],
    [['run', 'missing.jsonl'], /There is no file missing.jsonl/],
    [['run', '.', '-o', 'x'], /is a folder/],
    [['run', 'in.jsonl', '-o', 'nowhere/out'], /Cannot write nowhere\/out: there is no folder/],
    [['run', 'in.jsonl', '--json'], /--json needs -o FILE/],
    [['run', 'in.jsonl', '--max-failures', 'many'], /--max-failures must be a whole number/],
    [['run', 'in.jsonl', '--metadata', 'x'], /--metadata takes KEY=VALUE/],
    [['run', 'in.jsonl', '--defaults', '[1]'], /--defaults must be a JSON object/],
    [['run', 'in.jsonl', '--endpoint', '/v2'], /--endpoint must be one of/],
    [['retry', 'job_1'], /Say which items: --failed/],
    [['list', '--status', 'odd'], /--status must be one of/],
    [['config', 'hide'], /config has no "hide"/],
    [['completion', 'tcsh'], /no completion for "tcsh"/],
    [['list', '--base-url', 'localhost'], /baseUrl must be an http or https URL/],
  ])('%j is wrong usage: exit 2 with the reason', async (parameters, message) => {
    await inputFile();
    const { code, io } = await run(parameters);
    expect([code, io.error()]).toEqual([2, expect.stringMatching(message)]);
  });
});

describe('a port that is none', () => {
  it.each(['serve', 'up'])('is named by the flag that was typed: %s', async (command) => {
    const { code, io } = await run([command, '--port', 'x']);
    expect([code, io.error()]).toEqual([
      2,
      expect.stringContaining('--port must be a whole number from 0 to 65535'),
    ]);
    expect(io.error()).not.toContain('BATCH_INFER_PORT');
  });
});

describe('a server', () => {
  it('that is not there: exit 9 and how to start one', async () => {
    const { code, io } = await run(['list', '--base-url', 'http://127.0.0.1:9']);
    expect(code).toBe(9);
    expect(io.error()).toMatch(
      /error: Cannot reach http:\/\/127.0.0.1:9: .*\nnext: start one with `batch-infer up`/,
    );
  });

  it('that is no batch-infer server: exit 9 and what to change', async () => {
    const url = await serving((_request, response) => void response.end('hello'));
    const { code, io } = await run(['list', '--base-url', url]);
    expect([code, io.error()]).toEqual([9, expect.stringContaining('is it a batch-infer server?')]);
  });

  it.each([
    [401, 4, /next: set BATCH_INFER_API_KEY/],
    [403, 4, /next: set BATCH_INFER_API_KEY/],
    [404, 2, /next: `batch-infer list`/],
    [409, 2, /error: no/],
    [429, 9, /next: try again later/],
    [503, 9, /error: no \(request req_1\)/],
    [507, 9, /error: no/],
  ])('that answers %i: exit %i', async (status, expected, message) => {
    const url = await serving(problem(status, 'no'));
    const { code, io } = await run(['status', 'job_1', '--base-url', url]);
    expect([code, io.error()]).toEqual([expected, expect.stringMatching(message)]);
  });

  it('says the same as an event with --json', async () => {
    const url = await serving(problem(401, 'no key'));
    const { io } = await run(['submit', await inputFile(), '--json', '--base-url', url]);
    expect(JSON.parse(io.out())).toMatchObject({ event: 'error', exit_code: 4, message: 'no key' });
  });
});

describe('bad lines', () => {
  const errors = [{ line: 3, param: 'body', code: 'missing_parameter', message: 'Line 3: body is missing' }];

  it('that the server found are listed: exit 2', async () => {
    const url = await serving(problem(400, 'Line 3: body is missing (+6 more)', errors));
    const { code, io } = await run(['submit', await inputFile(), '--base-url', url]);
    expect(code).toBe(2);
    expect(io.error()).toMatch(
      /has 7 faults, the first 1 of them here; nothing was submitted\n {2}Line 3: body is missing/,
    );
    expect(io.out()).toBe('');
  });

  it('are annotated in GitHub Actions', async () => {
    const url = await serving(problem(400, 'bad', errors));
    const { io } = await run(['submit', 'in.jsonl', '--base-url', url], { GITHUB_ACTIONS: 'true' });
    expect(io.error()).toContain('There is no file');
    await inputFile();
    const annotated = await run(['submit', 'in.jsonl', '--base-url', url], { GITHUB_ACTIONS: 'true' });
    expect(annotated.io.error()).toContain('::error file=in.jsonl,line=3::Line 3: body is missing\n');
  });

  it('are found offline by validate: exit 2, on stdout', async () => {
    const path = join(folder, 'bad.jsonl');
    await writeFile(path, '{"body":{"model":"m","messages":[{"role":"user","content":"hi"}]}}\nnot json\n');
    const { code, io } = await run(['validate', path]);
    expect(code).toBe(2);
    expect(io.out()).toMatch(/1 fault in 2 items\n {2}Line 2 /);
    expect((await run(['validate', await inputFile()])).code).toBe(0);
    const report = await run(['validate', path, '--json']);
    expect(JSON.parse(report.io.out())).toMatchObject({ ok: false, error_count: 1, errors: [{ line: 2 }] });
  });

  it('are found by validate in media, but for the hosts that the server allows', async () => {
    const path = join(folder, 'media.jsonl');
    const image = { type: 'image_url', image_url: { url: 'https://media.example/x.png' } };
    const body = { model: 'm', messages: [{ role: 'user', content: [image] }] };
    await writeFile(path, JSON.stringify({ body }));
    const { code, io } = await run(['validate', path]);
    expect([code, io.out()]).toEqual([2, expect.stringContaining('media.example')]);
    for (const hosts of ['*', 'a.example,media.example'])
      expect((await run(['validate', path, '--media-hosts', hosts])).code).toBe(0);
    expect((await run(['validate', path], { BATCH_INFER_MEDIA_HOSTS: 'media.example' })).code).toBe(0);
  });
});

describe('a job that expired', () => {
  it('is exit 7, with what there is written', async () => {
    const job = {
      ...wireJob({ id: 'job_7', status: 'expired', phase: 'expired' }),
      counts: { total: 1, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0, expired: 1 },
    };
    const url = await serving((request, response) => {
      const isResults = request.url?.includes('/results') ?? false;
      response.writeHead(200, { 'content-type': isResults ? 'application/x-ndjson' : 'application/json' });
      response.end(
        isResults ? '{"index":0,"custom_id":"a","status":"expired","attempts":0}\n' : JSON.stringify(job),
      );
    });
    await inputFile();
    const { code, io } = await run(['run', 'in.jsonl', '-o', 'out.jsonl', '--base-url', url]);
    expect([code, io.error()]).toEqual([7, expect.stringContaining('job_7 expired · 1 item · 1 expired')]);
    expect(await readFile(join(folder, 'out.jsonl'), 'utf8')).toContain('"status":"expired"');
  });
});

describe('a server that goes away while a job runs', () => {
  it('is exit 9 after the retries', async () => {
    let looks = 0;
    const url = await serving((_request, response) => {
      looks += 1;
      if (looks === 1)
        response.end(JSON.stringify(wireJob({ id: 'job_9', status: 'running', phase: 'running' })));
      else problem(503, 'gone')(_request, response);
    });
    const { code, io } = await run(['watch', 'job_9', '--base-url', url]);
    expect([code, io.error()]).toEqual([
      9,
      expect.stringContaining('the same command goes on where it stopped'),
    ]);
    expect(looks).toBeGreaterThan(8);
  });
});

describe('completion', () => {
  it.each(['bash', 'zsh', 'fish'])('for %s names every command', async (shell) => {
    const { code, io } = await run(['completion', shell]);
    expect(code).toBe(0);
    for (const name of Object.keys(COMMANDS)) expect(io.out()).toContain(name);
  });
});

describe('the sources', () => {
  it('load the parts of the server lazily', async () => {
    const text = await readFile(new URL('commands/serve.ts', import.meta.url), 'utf8');
    expect(text).not.toMatch(/^import .*control-plane/m);
  });
});
