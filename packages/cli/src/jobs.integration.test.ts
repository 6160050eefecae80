import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EngineSim, startEngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CliProcess, childrenOf, runCommand, runShell, waitUntil } from '../test-support/cli-process.js';
import { idsOf, readLines, writeInput } from '../test-support/input.js';

let engine: EngineSim;
let stack: CliProcess;
let root = '';
let folder = '';
let environment: Record<string, string> = {};

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'batch-infer-cli-'));
  engine = await startEngineSim({ serviceTimeMs: 20, slots: 64 });
  stack = new CliProcess(['up', '--engine-url', engine.url, '--port', '0', '--data', 'data'], {
    cwd: root,
    shared: true,
    environment: {
      BATCH_INFER_DRAIN_TIMEOUT: '1s',
      BATCH_INFER_SESSION_GRACE_MS: '500',
      BATCH_INFER_LEASE_MS: '3000',
      BATCH_INFER_RENEW_INTERVAL_MS: '500',
    },
  });
  const [, url = ''] = await stack.until(/^batch-infer up ready (http:\/\/127\.0\.0\.1:\d+)$/m);
  environment = { BATCH_INFER_BASE_URL: url };
});
afterAll(async () => {
  await stack.stop();
  await engine.close();
  await rm(root, { recursive: true });
});
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
  engine.setFaults([]);
  if (engine.stats().inFlight > 0) engine.killConnections();
});

const run = (parameters: string[], more: Record<string, string> = {}) =>
  runCommand(parameters, { cwd: folder, environment: { ...environment, ...more } });
const start = (
  parameters: string[],
  options: { terminal?: boolean; environment?: Record<string, string> } = {},
) =>
  new CliProcess(parameters, {
    cwd: folder,
    ...options,
    environment: { ...environment, ...options.environment },
  });
const failing = (text: string) => [
  { match: { bodyIncludes: text }, action: { kind: 'status' as const, status: 400 } },
];
const statusOf = async (id: string) => (await run(['status', id, '-q'])).stdout.trim();

describe('run', () => {
  it('writes one line an item in input order, says how it went, and leaves nothing else behind: exit 0', async () => {
    await writeInput(folder, 300);
    const { exitCode, stdout, stderr } = await run(['run', 'in.jsonl', '-o', 'out.jsonl']);
    expect([exitCode, stdout]).toEqual([0, '']);
    const lines = await readLines(join(folder, 'out.jsonl'));
    expect(lines.map(({ custom_id }) => custom_id)).toEqual(idsOf(300));
    expect(lines.every(({ index, status }, at) => index === at && status === 'succeeded')).toBe(true);
    expect(stderr).toMatch(/job_\w+ submitted: 300 items\n/);
    expect(stderr).toMatch(/300\/300/);
    expect(stderr).toMatch(/300 lines in out.jsonl\njob_\w+ succeeded · 300 items/);
    expect((await readdir(folder)).toSorted()).toEqual(['in.jsonl', 'out.jsonl']);
  });

  it('run again finds the same job and fetches it again; --new makes another', async () => {
    await writeInput(folder, 5, { marker: 'again' });
    const first = await run(['run', 'in.jsonl', '-o', 'out.jsonl', '-q']);
    const second = await run(['run', 'in.jsonl', '-o', 'out.jsonl', '-q']);
    const fresh = await run(['run', 'in.jsonl', '-o', 'out.jsonl', '-q', '--new']);
    expect([first.exitCode, second.exitCode, fresh.exitCode]).toEqual([0, 0, 0]);
    expect(first.stdout).toMatch(/^job_\w+\n$/);
    expect(second.stdout).toBe(first.stdout);
    expect(fresh.stdout).not.toBe(first.stdout);
    expect([first.stderr, second.stderr]).toEqual(['', '']);
  });

  it('reads standard input and prints results where there is no -o', async () => {
    const input = await readFile(await writeInput(folder, 3, { marker: 'pipe', model: null }), 'utf8');
    const { exitCode, stdout } = await runCommand(['run', '-', '--model', 'sim-model'], {
      cwd: folder,
      environment,
      input,
    });
    expect(exitCode).toBe(0);
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).custom_id),
    ).toEqual(idsOf(3, 'pipe'));
  });

  it('reads what can be read only once, and writes to what is no file, as a shell hands it over', async () => {
    await writeInput(folder, 3, { marker: 'shell' });
    const shell = (script: string) =>
      runShell(script, { cwd: folder, environment: { ...environment, TMPDIR: folder } });
    const substituted = await shell('batch-infer run <(cat in.jsonl) -q -o >(cat >copied) && wait $!');
    expect(substituted.exitCode, substituted.stderr).toBe(0);
    await expect.poll(() => readLines(join(folder, 'copied'))).toHaveLength(3);
    const piped = await shell('cat in.jsonl | batch-infer run /dev/stdin -o /dev/stdout | cat');
    expect(piped.stdout.trimEnd().split('\n')).toHaveLength(3);
    const appended = await shell('echo kept >log; batch-infer run in.jsonl -q -o /dev/stdout >>log; cat log');
    expect(appended.stdout.split('\n').map((line) => line.slice(0, 8))).toEqual([
      'kept',
      ...Array(3).fill('{"index"'),
      '',
    ]);
    const left = (await readdir(folder)).filter((name) => name !== 'node-compile-cache');
    expect(left.toSorted()).toEqual(['copied', 'in.jsonl', 'log']);
  });

  it('refuses to write over its input before anything is submitted', async () => {
    const input = await readFile(await writeInput(folder, 3, { marker: 'precious' }), 'utf8');
    for (const script of [
      'batch-infer run in.jsonl -o ./in.jsonl',
      'batch-infer submit in.jsonl -o in.jsonl',
      'batch-infer run - -o in.jsonl <in.jsonl',
      'batch-infer run in.jsonl >>in.jsonl',
    ]) {
      const { exitCode, stderr } = await runShell(script, { cwd: folder, environment });
      expect([exitCode, stderr], script).toEqual([2, expect.stringContaining('written over the input')]);
      expect(await readFile(join(folder, 'in.jsonl'), 'utf8')).toBe(input);
    }
    expect(await readdir(folder)).toEqual(['in.jsonl']);
  });

  it('writes the lines of the server’s own files in OpenAI’s format, byte for byte', async () => {
    const odd = 'bytes \u2028\u2029 "\\ \u00e9';
    await writeInput(folder, 12, { marker: odd });
    engine.setFaults([
      ...failing('number 3'),
      { match: { bodyIncludes: 'number 5' }, action: { kind: 'garbage' } },
      { match: { bodyIncludes: 'number 7' }, action: { kind: 'hang' } },
    ]);
    const command = start([
      'run',
      'in.jsonl',
      '-o',
      'out.jsonl',
      '--format',
      'openai',
      '--max-attempts',
      '1',
    ]);
    const [, id = ''] = await command.until(/(job_\w+) submitted/);
    const jobOf = async () => JSON.parse((await run(['status', id, '--json'])).stdout);
    await waitUntil(async () => (await jobOf()).counts.succeeded === 9);
    await run(['cancel', id]);
    expect(await command.ended).toBe(6);
    const { output_file_id, error_file_id } = await jobOf();
    const contentOf = async (file: string) =>
      (await fetch(`${environment.BATCH_INFER_BASE_URL}/v1/files/${file}/content`)).text();
    const ofServer = `${await contentOf(output_file_id)}${await contentOf(error_file_id)}`;
    const ours = await readFile(join(folder, 'out.jsonl'), 'utf8');
    expect(ours.split('\n').toSorted()).toEqual(ofServer.split('\n').toSorted());
    // Python's splitlines() takes these for line breaks.
    expect(ours).not.toMatch(/[\u2028\u2029\u0085]/);
    expect(ours.split('\n')).toHaveLength(13);
  });

  it('writes OpenAI lines on demand', async () => {
    await writeInput(folder, 2, { marker: 'openai' });
    expect((await run(['run', 'in.jsonl', '-o', 'out.jsonl', '--format', 'openai'])).exitCode).toBe(0);
    const [first] = await readLines(join(folder, 'out.jsonl'));
    expect(first).toMatchObject({
      custom_id: 'openai-0',
      response: { status_code: 200, body: { object: 'chat.completion' } },
      error: null,
    });
  });

  it('with a bad line submits nothing and names it: exit 2', async () => {
    const path = await writeInput(folder, 2, { marker: 'bad' });
    const { appendFile } = await import('node:fs/promises');
    await appendFile(path, '{"body":\n');
    const { exitCode, stderr } = await run(['run', 'in.jsonl', '-o', 'out.jsonl']);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/in\.jsonl has 1 fault; nothing was submitted\n {2}Line 3/);
    expect(await readdir(folder)).toEqual(['in.jsonl']);
  });

  it('survives kill -9 of the server: the supervisor starts it again, the command goes on', async () => {
    await writeInput(folder, 400, { marker: 'crash' });
    engine.setFaults([{ match: { bodyIncludes: 'crash' }, action: { kind: 'slow', factor: 10 } }]);
    const command = start(['run', 'in.jsonl', '-o', 'out.jsonl']);
    await command.until(/submitted/);
    await waitUntil(() => engine.stats().running > 0);
    const serve = (await childrenOf(stack.child.pid ?? 0)).find(({ command: line }) =>
      line.endsWith(' serve'),
    );
    process.kill(serve?.pid ?? 0, 'SIGKILL');
    expect(await command.ended, command.stderr).toBe(0);
    const lines = await readLines(join(folder, 'out.jsonl'));
    expect(lines.map(({ custom_id }) => custom_id)).toEqual(idsOf(400, 'crash'));
    expect(stack.stderr).toContain('serve ended unexpectedly; it starts again in 0.5 s');
  });
});

describe('failed items', () => {
  it('are exit 3 unless tolerated, are written as lines, explained, and can be run again', async () => {
    await writeInput(folder, 10, { marker: 'fail' });
    engine.setFaults(failing('fail number 4'));
    const failed = await run(['run', 'in.jsonl', '-o', 'out.jsonl']);
    expect(failed.exitCode).toBe(3);
    expect((await readLines(join(folder, 'out.jsonl')))[4]).toMatchObject({
      status: 'failed',
      error: { code: 'invalid_request' },
    });
    const [, id = ''] = /next: batch-infer errors (\w+)/.exec(failed.stderr) ?? [];

    expect((await run(['watch', id, '--max-failures', '1'])).exitCode).toBe(0);
    expect((await run(['watch', id, '--min-success-rate', '0.9'])).exitCode).toBe(0);
    expect((await run(['watch', id, '--min-success-rate', '0.95'])).exitCode).toBe(3);
    expect((await run(['errors', id])).stdout).toMatch(/1 × invalid_request: .*\(first: fail-4, item 4\)/);
    expect((await run(['errors', id, '--items'])).stdout).toContain('"custom_id":"fail-4"');

    engine.setFaults([]);
    const retried = await run(['retry', '--failed', id, '--wait', '-o', 'out.jsonl']);
    expect([retried.exitCode, retried.stderr]).toEqual([0, expect.stringContaining('runs 1 item again')]);
    expect((await readLines(join(folder, 'out.jsonl'))).every(({ status }) => status === 'succeeded')).toBe(
      true,
    );
  });

  it('that are all of them are a failed job: exit 5, with every line written', async () => {
    await writeInput(folder, 3, { marker: 'doomed' });
    engine.setFaults(failing('doomed'));
    expect((await run(['run', 'in.jsonl', '-o', 'out.jsonl', '--max-failures', '10'])).exitCode).toBe(5);
    expect((await readLines(join(folder, 'out.jsonl'))).map(({ status }) => status)).toEqual([
      'failed',
      'failed',
      'failed',
    ]);
  });
});

describe('leaving and coming back', () => {
  const hang = () => engine.setFaults([{ match: { bodyIncludes: 'hang' }, action: { kind: 'hang' } }]);

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    '%s detaches and says how to come back and how to cancel: exit %i; the job goes on',
    async (signal, code) => {
      await writeInput(folder, 3, { marker: `hang ${signal}` });
      hang();
      const command = start(['run', 'in.jsonl', '-o', 'out.jsonl']);
      const [, id = ''] = await command.until(/(job_\w+) submitted/);
      await waitUntil(() => engine.stats().inFlight >= 3);
      command.kill(signal);
      expect(await command.ended).toBe(code);
      expect(command.stderr).toContain(`to come back:  batch-infer watch ${id} -o out.jsonl`);
      expect(command.stderr).toContain(`to stop it:    batch-infer cancel ${id}`);
      expect(await statusOf(id)).toBe('running');
      engine.setFaults([]);
      engine.killConnections();
      const again = await run(['run', 'in.jsonl', '-o', 'out.jsonl']);
      expect([again.exitCode, again.stderr]).toEqual([
        0,
        expect.stringContaining(`${id} was submitted before`),
      ]);
      expect(await readLines(join(folder, 'out.jsonl'))).toHaveLength(3);
    },
  );

  it('--cancel-on-interrupt cancels the job; whoever watches it sees exit 6', async () => {
    await writeInput(folder, 3, { marker: 'hang and cancel' });
    hang();
    const command = start(['run', 'in.jsonl', '-o', 'out.jsonl', '--cancel-on-interrupt']);
    const [, id = ''] = await command.until(/(job_\w+) submitted/);
    const watcher = start(['watch', id]);
    await waitUntil(() => engine.stats().inFlight >= 3);
    command.kill('SIGINT');
    expect(await command.ended).toBe(130);
    expect(command.stderr).toContain(`${id} is being cancelled`);
    expect(await watcher.ended).toBe(6);
  });

  it('--timeout leaves a job that still runs: exit 8, and why it waits is said', async () => {
    await writeInput(folder, 2, { marker: 'nobody', model: 'served-by-nobody' });
    const { exitCode, stderr } = await run(['submit', 'in.jsonl', '--wait', '--timeout', '2s']);
    expect(exitCode).toBe(8);
    expect(stderr).toMatch(/waiting: .*served-by-nobody/);
    expect(stderr).toMatch(/is still queued after 2s; it goes on\nnext: batch-infer watch job_/);
  });

  it('pause holds a job back with what runs of it, resume lets it go on', async () => {
    await writeInput(folder, 3, { marker: 'hang and pause' });
    hang();
    const id = (await run(['submit', 'in.jsonl', '-q'])).stdout.trim();
    await waitUntil(() => engine.stats().inFlight >= 3);
    const paused = await run(['pause', id]);
    expect([paused.exitCode, paused.stderr]).toEqual([
      0,
      `${id} is paused\nnext: batch-infer resume ${id}\n`,
    ]);
    await waitUntil(() => engine.stats().inFlight === 0);
    expect((await run(['status', id])).stdout).toMatch(/\(paused\)[\s\S]*waiting .*resume it/);
    engine.setFaults([]);
    expect((await run(['resume', id])).exitCode).toBe(0);
    expect((await run(['watch', id])).exitCode).toBe(0);
    expect((await run(['pause', id])).exitCode).not.toBe(0);
  });

  it('events prints what happens to a job until it has ended', async () => {
    await writeInput(folder, 3);
    const id = (await run(['submit', 'in.jsonl', '-q'])).stdout.trim();
    const { exitCode, stdout } = await run(['events', id]);
    expect(exitCode).toBe(0);
    expect(stdout.trim().split('\n').at(-1)).toMatch(/^\d+ {2}finished {2}succeeded {2}3\/3/);
    const again = await run(['events', id, '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ type: 'finished', job: { id, status: 'succeeded' } });
  });

  it('cancel stops a job for good', async () => {
    await writeInput(folder, 2, { marker: 'stop', model: 'served-by-nobody' });
    const id = (await run(['submit', 'in.jsonl', '-q'])).stdout.trim();
    expect((await run(['cancel', id, '--wait'])).exitCode).toBe(0);
    expect(await statusOf(id)).toBe('cancelled');
    expect((await run(['cancel', id])).exitCode).toBe(0);
    expect((await run(['watch', id])).exitCode).toBe(6);
  });
});

describe('talking to programs', () => {
  it('--json writes events as NDJSON', async () => {
    await writeInput(folder, 4, { marker: 'events' });
    const { exitCode, stdout, stderr } = await run(['run', 'in.jsonl', '-o', 'out.jsonl', '--json']);
    expect([exitCode, stderr]).toEqual([0, '']);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const names = events.map(({ event }) => event);
    expect(names[0]).toBe('submitted');
    expect(names).toContain('progress');
    expect(names.slice(-2)).toEqual(['results', 'ended']);
    expect(events.at(-1)).toMatchObject({
      exit_code: 0,
      job: { status: 'succeeded', counts: { succeeded: 4 } },
    });
  });

  it('in GitHub Actions leaves outputs and a table', async () => {
    await writeInput(folder, 4, { marker: 'github' });
    engine.setFaults(failing('github number 1'));
    const { exitCode } = await run(['run', 'in.jsonl', '-o', 'out.jsonl', '--max-failures', '1'], {
      GITHUB_ACTIONS: 'true',
      GITHUB_OUTPUT: join(folder, 'output'),
      GITHUB_STEP_SUMMARY: join(folder, 'summary.md'),
    });
    expect(exitCode).toBe(0);
    expect(await readFile(join(folder, 'output'), 'utf8')).toMatch(
      /^job_id=job_\w+\nfailed=1\nsuccess_rate=0\.75\n$/,
    );
    const summary = await readFile(join(folder, 'summary.md'), 'utf8');
    expect(summary).toContain('| 4 | 3 | 1 | 0 | 0 | 75.00 % |');
    expect(summary).toContain('| invalid_request | 1 | github-1 |');
  });

  it('list, status, results, runners and estimate answer as tables and as JSON', async () => {
    await writeInput(folder, 2, { marker: 'shown' });
    const submit = ['submit', 'in.jsonl', '--wait', '-q', '--metadata', 'kind=shown'];
    const id = (await run(submit)).stdout.trim();
    expect((await run(['list', '-q', '--metadata', 'kind=shown'])).stdout).toBe(`${id}\n`);
    expect((await run(['list', '-q', '--created-after', '2099-01-01'])).stdout).toBe('');
    expect((await run(['list', '--created-after', 'yesterday'])).exitCode).toBe(2);
    expect((await run(['list'])).stdout).toMatch(new RegExp(`${id} +succeeded +2/2 +0 +sim-model`));
    expect((await run(['list', '-q', '--limit', '1'])).stdout).toBe(`${id}\n`);
    expect(JSON.parse((await run(['status', id, '--json'])).stdout)).toMatchObject({
      id,
      counts: { total: 2 },
    });
    expect((await run(['results', id])).stdout.split('\n')).toHaveLength(3);
    expect((await run(['results', id, '--after', '0', '--order', 'input'])).stdout.split('\n')).toHaveLength(
      2,
    );
    expect((await run(['runners'])).stdout).toContain('sim-model');
    expect((await run(['estimate', 'in.jsonl'])).stdout).toMatch(
      /^in\.jsonl: 2 items \(sim-model 2\), 1 shard, /,
    );
  });
});

describe('on a terminal', () => {
  const ESCAPE = String.fromCharCode(27);

  it('shows one live line, in colour', async () => {
    await writeInput(folder, 200, { marker: 'live' });
    engine.setFaults([{ match: { bodyIncludes: 'live' }, action: { kind: 'slow', factor: 30 } }]);
    const command = start(['run', 'in.jsonl', '-o', 'out.jsonl'], {
      terminal: true,
      environment: { TERM: 'xterm-256color' },
    });
    expect(await command.ended, command.stdout).toBe(0);
    expect(command.stdout).toMatch(/\d+\/200/);
    expect(command.stdout).toContain(`${ESCAPE}[0K`);
    expect(command.stdout).toContain(`${ESCAPE}[36m`);
    expect(command.stdout).toContain('succeeded · 200 items');
  });

  it('honours NO_COLOR', async () => {
    await writeInput(folder, 20, { marker: 'plain' });
    const command = start(['run', 'in.jsonl', '-o', 'out.jsonl'], {
      terminal: true,
      environment: { TERM: 'xterm-256color', NO_COLOR: '1' },
    });
    expect(await command.ended).toBe(0);
    expect(command.stdout).not.toContain(`${ESCAPE}[3`);
  });

  it('Ctrl-C detaches', async () => {
    await writeInput(folder, 2, { marker: 'hang on a terminal' });
    engine.setFaults([{ match: { bodyIncludes: 'hang' }, action: { kind: 'hang' } }]);
    const command = start(['run', 'in.jsonl', '-o', 'out.jsonl'], { terminal: true });
    await command.until(/0\/2/, 'stdout');
    command.child.stdin?.write(String.fromCharCode(3));
    expect(await command.ended).toBe(130);
    expect(command.stdout).toContain('goes on without this command');
  });
});
