import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type EngineSim, startEngineSim } from '@batch-infer/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  CliProcess,
  childrenOf,
  ENTRY,
  isAlive,
  runCommand,
  waitUntil,
} from '../test-support/cli-process.js';
import { idsOf, readLines, writeInput } from '../test-support/input.js';

let engine: EngineSim;
let folder = '';

beforeAll(async () => {
  engine = await startEngineSim({ serviceTimeMs: 20, slots: 64 });
});
afterAll(async () => {
  await engine.close();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-cli-'));
  engine.setFaults([]);
});
afterEach(async () => {
  await rm(folder, { recursive: true, maxRetries: 3 });
});

const environment = { BATCH_INFER_DRAIN_TIMEOUT: '1s' };
const start = (...parameters: string[]) => new CliProcess(parameters, { cwd: folder, environment });
const run = (...parameters: string[]) => runCommand(parameters, { cwd: folder, environment });

describe('serve and runner', () => {
  it('each say on one line when they can take work, and end with exit 0 on SIGTERM', async () => {
    const serve = start('serve', '--data', 'data', '--port', '0');
    const [, url = ''] = await serve.until(/^batch-infer serve ready (http:\/\/127\.0\.0\.1:\d+)$/m);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    const runner = start('runner', '--server', url, '--engine-url', engine.url, '--metrics-port', '0');
    await runner.until(new RegExp(`^batch-infer runner ready sim-model → ${url}$`, 'm'));
    expect((await run('runners', '--base-url', url)).stdout).toContain('sim-model');
    runner.kill('SIGTERM');
    expect(await runner.ended).toBe(0);
    serve.kill('SIGTERM');
    expect(await serve.ended).toBe(0);
    expect([serve.stdout, runner.stdout]).toEqual(['', '']);
  });

  it('say which process to stop, and keep --pid-file while they run', async () => {
    const serve = start('serve', '--data', 'data', '--port', '0', '--pid-file', 'serve.pid');
    await serve.until(/serve ready/);
    expect(serve.stderr).toContain(`pid ${serve.child.pid}: SIGTERM drains it\n`);
    expect(await readFile(join(folder, 'serve.pid'), 'utf8')).toBe(`${serve.child.pid}\n`);
    serve.kill('SIGTERM');
    expect(await serve.ended).toBe(0);
    expect(await readdir(folder)).not.toContain('serve.pid');
    // Prompts are not written over by a slip of the keyboard.
    await writeInput(folder, 1);
    const slip = await run('serve', '--data', 'data', '--port', '0', '--pid-file', 'in.jsonl');
    expect([slip.exitCode, slip.stderr]).toEqual([
      2,
      expect.stringContaining('something else than a process id'),
    ]);
    expect(await readLines(join(folder, 'in.jsonl'))).toHaveLength(1);
  });

  it.each([
    ['end with the shell in which npm runs nothing else', 'batch-infer serve', true],
    ['outlive a shell that started them in the background', 'batch-infer serve &', false],
  ])('%s', async (_case, script, ends) => {
    const pidFile = join(folder, 'serve.pid');
    const command = `"$NODE" "$ENTRY" serve --data data --port 0 --pid-file "${pidFile}" & wait`;
    const shell = spawn('sh', ['-c', command], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        XDG_CONFIG_HOME: folder,
        NODE: process.execPath,
        ENTRY,
        npm_lifecycle_script: script,
      },
    });
    let said = '';
    shell.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await waitUntil(
      () => said.includes('serve ready'),
      () => said,
    );
    const pid = Number(await readFile(pidFile, 'utf8'));
    const wasReady = performance.now();
    shell.kill('SIGKILL');
    if (ends) await waitUntil(() => !isAlive(pid));
    else await waitUntil(() => performance.now() - wasReady > 2_000);
    expect(isAlive(pid)).toBe(!ends);
    if (!ends) process.kill(pid, 'SIGTERM');
    await waitUntil(() => !isAlive(pid));
  });

  it('a second SIGTERM ends a drain at once', async () => {
    const serve = start('serve', '--data', 'data', '--port', '0');
    const [, url = ''] = await serve.until(/serve ready (\S+)/);
    const runner = start('runner', '--server', url, '--engine-url', engine.url, '--drain-timeout', '1h');
    await runner.until(/runner ready/);
    engine.setFaults([{ match: { bodyIncludes: 'stuck' }, action: { kind: 'hang' } }]);
    await writeInput(folder, 1, { marker: 'stuck' });
    await run('submit', 'in.jsonl', '--base-url', url);
    await waitUntil(() => engine.stats().inFlight > 0);
    runner.kill('SIGTERM');
    runner.kill('SIGTERM');
    await waitUntil(() => {
      runner.kill('SIGTERM');
      return runner.child.exitCode !== null;
    });
    expect([0, 143]).toContain(await runner.ended);
    engine.killConnections();
  });

  it('a taken port is exit 2 with the next step', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const { exitCode, stderr } = await run('serve', '--data', 'data', '--port', String(port));
    other.close();
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/error: .*--port/s)]);
  });

  it('a second server on the same folder is exit 2, naming the first', async () => {
    const serve = start('serve', '--data', 'data', '--port', '0');
    const [, url = ''] = await serve.until(/serve ready (\S+)/);
    const { exitCode, stderr } = await run('serve', '--data', 'data', '--port', '0');
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(url)]);
  });

  it('wrong settings are exit 2, all named at once, without their values', async () => {
    const { exitCode, stderr } = await run('serve', '--roles', 'king', '--database-url', 'mysql://secret');
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/--roles.*--database-url|--database-url.*--roles/s);
    expect(stderr).not.toContain('secret');
  });

  it.each([
    ['no engine there', ['--engine-url', 'http://127.0.0.1:9', '--engine-wait', '1s'], 9],
    ['no engine named', [], 2],
    ['a wrong URL', ['--engine-url', 'localhost'], 2],
  ])('a runner with %s says so', async (_name, flags, code) => {
    const { exitCode, stderr } = await run('runner', ...flags);
    expect([exitCode, stderr]).toEqual([code, expect.stringMatching(/^error: [\s\S]*engine/m)]);
  });

  it('a runner for a model that the engine does not serve is exit 2, naming those it serves', async () => {
    const { exitCode, stderr } = await run('runner', '--engine-url', engine.url, '--model', 'other');
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('sim-model')]);
  });
});

describe('up', () => {
  const up = async () => {
    const stack = start('up', '--engine-url', engine.url, '--port', '0', '--data', 'data');
    const [, url = ''] = await stack.until(/^batch-infer up ready (http:\/\/127\.0\.0\.1:\d+)$/m);
    const children = await childrenOf(stack.child.pid ?? 0);
    expect(children.map(({ command }) => command.split(' ').at(-1)).toSorted()).toEqual(['runner', 'serve']);
    return { stack, url, children };
  };

  it('prints its own ready line only, and takes its parts along on SIGTERM: exit 0', async () => {
    const { stack, children } = await up();
    expect(stack.stderr).not.toMatch(/(serve|runner) ready/);
    stack.kill('SIGTERM');
    expect(await stack.ended).toBe(0);
    expect(children.filter(({ pid }) => isAlive(pid))).toEqual([]);
  });

  it('names the flag that was typed when a part refuses its value', async () => {
    const { exitCode, stderr } = await run(
      'up',
      '--engine-url',
      engine.url,
      '--port',
      '0',
      '--retention',
      'soon',
    );
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('--retention')]);
    expect(stderr).not.toContain('BATCH_INFER_');
  });

  it('kill -9 takes its parts along, too, and the folder can be used at once', async () => {
    const { stack, children } = await up();
    stack.kill('SIGKILL');
    await waitUntil(() => children.every(({ pid }) => !isAlive(pid)));
    const again = await up();
    again.stack.kill('SIGINT');
    expect(await again.stack.ended).toBe(0);
  });

  it('starts a part again that was killed, on the same port', async () => {
    const { stack, url, children } = await up();
    for (const { pid } of children) process.kill(pid, 'SIGKILL');
    await waitUntil(async () => {
      const answer = await fetch(`${url}/readyz`).catch(() => null);
      return answer?.status === 200;
    });
    await writeInput(folder, 5);
    const { exitCode } = await run('run', 'in.jsonl', '-o', 'out.jsonl', '--base-url', url);
    expect(exitCode).toBe(0);
    expect(stack.stderr).toMatch(/serve ended unexpectedly/);
    expect(stack.stderr).toMatch(/runner ended unexpectedly/);
  });

  it('passes on why a part did not come up, with its exit code, and leaves nothing running', async () => {
    const { exitCode, stderr } = await run(
      'up',
      '--engine-url',
      'http://127.0.0.1:9',
      '--engine-wait',
      '1s',
      '--port',
      '0',
    );
    expect([exitCode, stderr]).toEqual([9, expect.stringContaining('http://127.0.0.1:9')]);
    expect(stderr.match(/^error: /gm)).toHaveLength(1);
    const taken = await run('up', '--engine-url', engine.url, '--port', '0', '--log-level', 'loud');
    expect([taken.exitCode, taken.stderr]).toEqual([2, expect.stringContaining('--log-level')]);
  });
});

describe('run --local', () => {
  const local = (...flags: string[]) => [
    'run',
    'in.jsonl',
    '-o',
    'out.jsonl',
    '--local',
    '--engine-url',
    engine.url,
    ...flags,
  ];

  it('needs nothing else: starts a stack, runs the file, stops the stack', async () => {
    await writeInput(folder, 50);
    const command = start(...local());
    expect(await command.ended, command.stderr).toBe(0);
    expect((await readLines(join(folder, 'out.jsonl'))).map(({ custom_id }) => custom_id)).toEqual(idsOf(50));
    expect((await readdir(folder)).toSorted()).toEqual(['.batch-infer', 'in.jsonl', 'out.jsonl']);
    expect(command.stderr).not.toMatch(/ready/);
  });

  it('gives lines without a model the one of --model', async () => {
    await writeInput(folder, 2, { model: null });
    expect((await run(...local('--model', 'sim-model'))).exitCode).toBe(0);
  });

  it('refuses a model that no engine serves before anything is submitted: exit 2', async () => {
    await writeInput(folder, 2, { model: 'gpt-9' });
    const { exitCode, stderr } = await run(...local());
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/in\.jsonl names a model that no engine here serves: gpt-9\. Served: sim-model/);
    expect(stderr).not.toContain('submitted');
  });

  it('refuses bad lines before anything is started: exit 2', async () => {
    await writeFile(join(folder, 'in.jsonl'), '{"body":{}}\n');
    const { exitCode, stderr } = await run(...local());
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/Line 1/)]);
    expect(await readdir(folder)).toEqual(['in.jsonl']);
  });

  it('an engine that is not there is exit 9', async () => {
    await writeInput(folder, 1);
    const { exitCode, stderr } = await run(
      ...[
        'run',
        'in.jsonl',
        '-o',
        'out.jsonl',
        '--local',
        '--engine-url',
        'http://127.0.0.1:9',
        '--engine-wait',
        '1s',
      ],
    );
    expect([exitCode, stderr]).toEqual([9, expect.stringContaining('http://127.0.0.1:9')]);
  });

  it('goes on with the same job when it was interrupted', async () => {
    await writeInput(folder, 20, { marker: 'slow' });
    engine.setFaults([{ match: { bodyIncludes: 'slow number 19' }, action: { kind: 'hang' } }]);
    const command = start(...local());
    const [, id = ''] = await command.until(/(job_\w+) submitted/);
    await waitUntil(
      () =>
        engine.requests().filter(({ marker, completed }) => marker.startsWith('slow') && completed > 0)
          .length === 19,
    );
    command.kill('SIGINT');
    expect(await command.ended).toBe(130);
    expect(command.stderr).toContain('the same command again goes on where it stopped');
    engine.setFaults([]);
    const again = await run(...local());
    expect([again.exitCode, again.stderr]).toEqual([
      0,
      expect.stringContaining(`${id} was submitted before`),
    ]);
    expect(await readLines(join(folder, 'out.jsonl'))).toHaveLength(20);
    const twice = engine
      .requests()
      .filter(({ marker, completed }) => marker.startsWith('slow') && completed > 1);
    expect(twice).toEqual([]);
  });
});

describe('starting', () => {
  /** Notes every module that is loaded. */
  const RECORDER = `
    import { appendFileSync } from 'node:fs';
    import { registerHooks } from 'node:module';
    registerHooks({
      load(url, context, next) {
        appendFileSync(process.env.MODULE_LOG, url + '\\n');
        return next(url, context);
      },
    });`;

  async function modulesOf(...parameters: string[]): Promise<string[]> {
    await writeFile(join(folder, 'recorder.mjs'), RECORDER);
    const log = join(folder, 'modules');
    const { exitCode } = await runCommand(parameters, {
      cwd: folder,
      environment: {
        MODULE_LOG: log,
        NODE_OPTIONS: `--import ${pathToFileURL(join(folder, 'recorder.mjs')).href}`,
      },
    });
    expect(exitCode).toBe(0);
    const urls = (await readFile(log, 'utf8'))
      .trimEnd()
      .split('\n')
      .filter((url) => url.startsWith('file:'));
    return urls.map((url) => url.replace(/^.*node_modules\//, '').replace(/^.*packages\/cli\//, ''));
  }

  it('--version loads a few small files of ours and no package', async () => {
    const modules = await modulesOf('--version');
    expect(
      modules.filter((name) => !/^(bin\/batch-infer\.js|dist\/(main|chunk-\w+)\.js)$/.test(name)),
    ).toEqual([]);
    expect(modules.length).toBeLessThanOrEqual(4);
  });

  it.each([[['--help']], [['run', '--help']], [['serve', '--help']]])(
    '%j loads commander and no other package',
    async (parameters) => {
      const packages = (await modulesOf(...parameters)).filter((name) => !/^(bin|dist)\//.test(name));
      expect(packages.filter((name) => !name.startsWith('commander/'))).toEqual([]);
    },
  );

  it('status loads the SDK, and nothing of the server', async () => {
    const serve = start('serve', '--data', 'data', '--port', '0');
    const [, url = ''] = await serve.until(/serve ready (\S+)/);
    const modules = await modulesOf('list', '--base-url', url);
    expect(modules.filter((name) => /zod|nest|fastify|openai|undici|pino|ora\//.test(name))).toEqual([]);
  });
});
