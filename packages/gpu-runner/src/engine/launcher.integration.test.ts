import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { recordingLogger, silentLogger, until } from '../../test/fixtures.js';
import { monotonicClock } from '../clock.js';
import { discoverEngine } from './discovery.js';
import { EngineLauncher, type LauncherOptions } from './launcher.js';

const SCRIPT = fileURLToPath(new URL('../../test/launched-engine.mjs', import.meta.url));
const launchers: EngineLauncher[] = [];

afterEach(async () => {
  for (const launcher of launchers.splice(0)) await launcher.stop(true);
});

async function launch(command: string, options: Partial<LauncherOptions> = {}): Promise<EngineLauncher> {
  const launcher = await EngineLauncher.start({
    ...{
      command,
      environment: { PATH: process.env.PATH ?? '' },
      url: null,
      graceMs: 5_000,
      verbose: false,
      clock: monotonicClock,
      logger: silentLogger,
    },
    onExit: () => {},
    onLaunch: () => {},
    ...options,
  });
  launchers.push(launcher);
  return launcher;
}

async function pidsAt(url: string): Promise<number[]> {
  let pids: number[] | null = null;
  const ask = () =>
    fetch(`${url}/v1/models`)
      .then((response) => response.json())
      .then((body) => {
        pids = body.pids;
      })
      .catch(() => {});
  await until(() => {
    if (pids === null) void ask();
    return pids !== null;
  }, 'the engine answers');
  return pids ?? [];
}

/** A process that has ended and was not yet waited for is no longer running. */
function running(pid: number): boolean {
  const status = `/proc/${pid}/stat`;
  return existsSync(status) && !/\) [ZX] /.test(readFileSync(status, 'utf8'));
}

const command = (rest = ''): string => `'${process.execPath}' "${SCRIPT}" --port {port}${rest}`;

describe('a launched engine', () => {
  test('listens at the free port that its command was given, and ends with all of its processes', async () => {
    const launcher = await launch(command());
    const pids = await pidsAt(launcher.url);
    const found = await discoverEngine({
      url: launcher.url,
      apiKey: null,
      wanted: [],
      signal: AbortSignal.timeout(5_000),
    });
    expect(found.models).toEqual(['launched']);
    expect(pids.every(running)).toBe(true);
    await launcher.stop(false);
    await until(() => !pids.some(running), 'all of its processes have ended', 5_000);
  });

  test('is started again when it ends, after what it left behind', async () => {
    let exits = 0;
    const launcher = await launch(command(), {
      onExit: () => {
        exits += 1;
      },
    });
    const pids = await pidsAt(launcher.url);
    const [pid = 0] = pids;
    launcher.markUseful();
    process.kill(pid, 'SIGKILL');
    await until(() => exits === 1, 'its end is seen');
    await until(() => !pids.some(running), 'nothing of it is left', 5_000);
    const [again] = await pidsAt(launcher.url);
    expect(again).not.toBe(pid);
    expect(launcher.restarts).toBe(1);
  });

  test('that cannot start is given up, with what it printed', async () => {
    const logger = recordingLogger();
    const launcher = await launch(command(' --fail'), { logger });
    const failure = await launcher.failed.catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'launch_failed', exitCode: 9 });
    expect(String(failure)).toContain('exit code 3');
    expect(String(failure)).toContain('no such model: nothing to serve');
  });

  test('whose program does not exist is given up likewise', async () => {
    const launcher = await launch('no-such-program-anywhere serve');
    await expect(launcher.failed).rejects.toMatchObject({ code: 'launch_failed' });
  });

  test.each([
    ['engine --port 4321', null, 'http://127.0.0.1:4321'],
    ['engine --port=4321', null, 'http://127.0.0.1:4321'],
    ['engine', null, 'http://127.0.0.1:8000'],
    ['engine --port 4321', 'http://127.0.0.1:99/v1', 'http://127.0.0.1:99'],
  ])('%s with %s is looked for at %s', async (text, url, expected) => {
    expect((await launch(`true ${text}`, { url })).url).toBe(expected);
  });

  test('is shown once, as it is run', async () => {
    const shown: string[] = [];
    await launch('true serve --port {port} --api-key k', { onLaunch: (text) => shown.push(text) });
    expect(shown).toEqual([expect.stringMatching(/^true serve --port \d+ --api-key \*\*\*$/)]);
  });

  test('with a quote left open is refused', async () => {
    await expect(launch("engine 'x")).rejects.toMatchObject({ code: 'invalid_config', exitCode: 2 });
  });
});

test('a process that the engine left behind, with our pipes, does not hold up the end', async () => {
  // A session of its own is outside the group that is ended.
  const leaving = `
    const left = require('node:child_process').spawn('sleep', ['600'], { detached: true, stdio: 'inherit' });
    const answer = JSON.stringify({ data: [], pids: [left.pid] });
    require('node:http').createServer((_, response) => response.end(answer)).listen(process.argv[1], '127.0.0.1');`;
  const launcher = await launch(`'${process.execPath}' -e "${leaving}" {port}`, { graceMs: 500 });
  const [left = 0] = await pidsAt(launcher.url);
  try {
    await launcher.stop(false);
    // It was still there when all was over: nobody waited for it.
    expect(running(left)).toBe(true);
  } finally {
    process.kill(left, 'SIGKILL');
  }
});
