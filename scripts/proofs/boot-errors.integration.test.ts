import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type CliRun,
  freePort,
  makeItems,
  type Program,
  ProofStack,
  runCli,
  toBatchFile,
} from './harness.js';

/** U1 for starting wrongly: what is said, what the next step is, and the exit code of `ux.md`. */
const USAGE = 2;
const UNAVAILABLE = 9;

const stack = new ProofStack();
let server: Program;
let engine: EngineSim;
let website: Server;
let nobody: string;

beforeAll(async () => {
  engine = await stack.engine({ serviceTimeMs: 10 });
  server = await stack.serve();
  website = createServer((_request, response) => response.end('<html>hello</html>')).listen(0, '127.0.0.1');
  nobody = `http://127.0.0.1:${await freePort()}`;
});

afterAll(async () => {
  website.close();
  await stack.close();
});

const websiteUrl = () => `http://127.0.0.1:${(website.address() as AddressInfo).port}`;

/** What a person reads: everything but the log lines. */
const talkOf = (run: CliRun): string =>
  run.stderr
    .split('\n')
    .filter((line) => !line.startsWith('{'))
    .join('\n');

function expectRefusal(run: CliRun, code: number, ...words: readonly (string | RegExp)[]): void {
  const talk = talkOf(run);
  expect(run.code, talk).toBe(code);
  for (const word of words) expect(talk).toMatch(word);
  expect(talk, 'no stack trace').not.toMatch(/^\s+at /m);
  expect(run.stdout).toBe('');
}

describe('batch-infer runner', () => {
  const runner = (...parameters: string[]) =>
    runCli(['runner', '--server', stack.url, '--engine-wait', '1s', ...parameters]);

  test('without an engine names the flags', async () => {
    expectRefusal(await runner(), USAGE, /no engine/, /--engine-url/, /--launch/);
  });

  test('with an engine that is not there says so after its waiting time', async () => {
    expectRefusal(await runner('--engine-url', nobody), UNAVAILABLE, nobody, /no engine answers/);
  });

  test('with a URL that is no engine says so', async () => {
    const run = await runner('--engine-url', websiteUrl());
    expectRefusal(run, UNAVAILABLE, websiteUrl(), /OpenAI-compatible|not an engine|no .*engine/i);
  });

  test('with a model that the engine does not serve names those that it serves', async () => {
    const run = await runner('--engine-url', engine.url, '--model', 'no-such-model');
    expectRefusal(run, USAGE, /no-such-model/, /sim-model/, /--model/);
  });

  test('with a server that is no control plane says so', async () => {
    const run = await runCli(['runner', '--server', engine.url, '--engine-url', engine.url]);
    expectRefusal(run, USAGE, engine.url, /--server/);
  });

  test('with a bad flag names it', async () => {
    expectRefusal(await runner('--engine-url', engine.url, '--window', 'wide'), USAGE, /window/i);
  });
});

describe('batch-infer serve', () => {
  const serve = (...parameters: string[]) => runCli(['serve', ...parameters]);

  test('on the folder of a running server names that server', async () => {
    const run = await serve('--data', join(stack.folder, 'data'), '--port', '0');
    expectRefusal(run, USAGE, stack.url, String(server.processId), /--data/);
  });

  test('on a taken port names the port', async () => {
    const run = await serve('--data', join(stack.folder, 'other'), '--port', new URL(stack.url).port);
    expectRefusal(run, USAGE, new URL(stack.url).port, /taken/, /--port/);
  });

  test('on a folder that cannot be made names it', async () => {
    const file = join(stack.folder, 'file');
    writeFileSync(file, '');
    const run = await serve('--data', join(file, 'data'), '--port', '0');
    expectRefusal(run, USAGE, join(file, 'data'), /--data/);
  });

  test('open to the network without keys is refused', async () => {
    const run = await serve('--data', join(stack.folder, 'other'), '--host', '0.0.0.0', '--port', '0');
    expectRefusal(run, USAGE, /0\.0\.0\.0/, /--api-keys-file/);
  });

  test('with a database that is away names it without its password', async () => {
    const { port } = new URL(nobody);
    const url = `postgres://somebody:hunter2@127.0.0.1:${port}/batch`;
    const run = await serve('--database-url', url, '--data', join(stack.folder, 'other'), '--port', '0');
    expectRefusal(run, UNAVAILABLE, `127.0.0.1:${port}`, /--database-url/);
    expect(run.stderr).not.toContain('hunter2');
  });
});

describe('batch-infer run', () => {
  const input = join(stack.folder, 'in.jsonl');
  const run = (...parameters: string[]) => runCli(['run', ...parameters]);

  beforeAll(() => writeFileSync(input, toBatchFile(makeItems('cli', 3))));

  test('with an output that cannot be written says so before it submits', async () => {
    const missing = join(stack.folder, 'missing', 'out.jsonl');
    const before = await stack.client.get<{ data: unknown[] }>('/v1/jobs');
    expectRefusal(await run(input, '-o', missing, '--base-url', stack.url), USAGE, missing, /-o/);
    mkdirSync(join(stack.folder, 'folder.jsonl'));
    const folder = join(stack.folder, 'folder.jsonl');
    expectRefusal(await run(input, '-o', folder, '--base-url', stack.url), USAGE, folder, /folder/);
    expect(await stack.client.get('/v1/jobs')).toEqual(before);
  });

  test('with an input that is not there names it', async () => {
    const missing = join(stack.folder, 'missing.jsonl');
    const output = join(stack.folder, 'out.jsonl');
    expectRefusal(await run(missing, '-o', output, '--base-url', stack.url), USAGE, missing);
  });

  test('with a server that is not there says how to start one', async () => {
    const output = join(stack.folder, 'out.jsonl');
    expectRefusal(
      await run(input, '-o', output, '--base-url', nobody),
      UNAVAILABLE,
      nobody,
      /batch-infer up/,
    );
  });

  test('with bad lines names the lines', async () => {
    const bad = join(stack.folder, 'bad.jsonl');
    writeFileSync(bad, `${toBatchFile(makeItems('bad', 2))}{"custom_id":\n{"custom_id":"bad-0","body":{}}\n`);
    const refused = await run(bad, '-o', join(stack.folder, 'out.jsonl'), '--base-url', stack.url);
    expectRefusal(refused, USAGE, /ine 3/, /ine 4/);
  });

  test('without a runner says what it waits for, and ends at --timeout', async () => {
    const output = join(stack.folder, 'out.jsonl');
    const waited = await run(input, '-o', output, '--base-url', stack.url, '--timeout', '1s');
    expect(waited.code).toBe(8);
    expect(waited.stderr).toMatch(/No runner/);
    expect(waited.stderr).toMatch(/batch-infer watch job_/);
  });
});
