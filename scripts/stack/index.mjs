// A stack of real servers for one test run: own data, own ports, gone afterwards.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { acquireLock } from './lock.mjs';
import { isAlive, sendSignal, waitUntil } from './processes.mjs';
import { Stack } from './stack.mjs';
import { createFolders, loadState, PART_NAMES, runningPids, stackLayout } from './state.mjs';

export { acquireLock };

/** @typedef {import('./state.mjs').PartName} PartName */

const TEMPORARY_PREFIX = 'batch-infer-stack-';
const KILL_TIMEOUT_MS = 5_000;
/** A test stack is never one of other people's servers, whatever the shell's variables say. */
const POINTERS = ['KAFKA_BROKERS', 'DATABASE_URL', 'S3_ENDPOINT'];

/**
 * Documented in index.d.mts.
 * @param {{ dir?: string, only?: readonly PartName[], report?: (message: string) => void }} [options]
 */
export async function startStack({ dir, only = PART_NAMES, report = () => {} } = {}) {
  const environment = { ...process.env };
  for (const name of POINTERS) delete environment[name];
  if (dir === undefined) await sweepAbandoned(environment);
  const layout = stackLayout({ dir: dir ?? mkdtempSync(join(tmpdir(), TEMPORARY_PREFIX)), environment });
  createFolders(layout);
  const stack = new Stack({ layout, environment, report, ownerPid: process.pid });

  const locked = async (/** @type {() => Promise<void>} */ action) => {
    const release = await acquireLock(layout.lockFile, { onWait: () => {} });
    try {
      await action();
    } finally {
      release();
    }
  };
  const bringUp = async (/** @type {readonly PartName[]} */ names) => {
    const results = await stack.ensureUp(names);
    const failures = results.filter(({ outcome }) => outcome === 'failed');
    if (failures.length > 0) throw new Error(failures.map(({ detail }) => detail).join('\n'));
  };
  const pidOf = (/** @type {PartName} */ name) => {
    const pid = stack.state.parts[name]?.pid;
    if (!pid) throw new Error(`${name} is not running in ${layout.dir}`);
    return pid;
  };
  // A JVM outlives a parent that ends without saying goodbye.
  const killAll = () => {
    for (const pid of Object.values(runningPids(stack.state))) sendSignal(pid, 'SIGKILL');
  };
  process.on('exit', killAll);

  const stop = () =>
    locked(async () => {
      await stack.bringDown(PART_NAMES);
      process.off('exit', killAll);
      if (dir !== undefined) return;
      stack.wipe(PART_NAMES);
      rmSync(layout.dir, { recursive: true, force: true });
    });

  try {
    await locked(() => bringUp(only));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    dir: layout.dir,
    env: stack.variables(),
    get pids() {
      return runningPids(stack.state);
    },
    async killPart(/** @type {PartName} */ name) {
      const pid = pidOf(name);
      sendSignal(pid, 'SIGKILL');
      if (!(await waitUntil(() => !isAlive(pid), KILL_TIMEOUT_MS, 5))) {
        throw new Error(`${name} (${pid}) survives SIGKILL`);
      }
    },
    restartPart: (/** @type {PartName} */ name) =>
      locked(async () => {
        await stack.bringDown([name]);
        await bringUp([name]);
      }),
    stop,
  };
}

/**
 * Ends what a killed test run left behind.
 * @param {NodeJS.ProcessEnv} environment
 */
async function sweepAbandoned(environment) {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(TEMPORARY_PREFIX))) {
    const layout = stackLayout({ dir: join(tmpdir(), name), environment });
    const { ownerPid } = loadState(layout);
    if (ownerPid === null || isAlive(ownerPid)) continue;
    const stack = new Stack({ layout, environment, report: () => {} });
    await stack.bringDown(PART_NAMES);
    stack.wipe(PART_NAMES);
    rmSync(layout.dir, { recursive: true, force: true });
  }
}
