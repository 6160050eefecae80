// Processes that outlive us: started detached, found again by their command line, ended by pid only.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const ROTATE_LOG_ABOVE_BYTES = 16 * 1024 * 1024;

/**
 * @typedef {object} RunResult
 * @property {number | null} code `null` when the command could not be started or was ended by a signal.
 * @property {string} stdout
 * @property {string} stderr
 * @property {boolean} missing The command does not exist.
 */

/**
 * Runs a command to its end. Never throws: what went wrong is in the result.
 * @param {string} command
 * @param {readonly string[]} argumentList
 * @param {import('node:child_process').SpawnOptions & { input?: string }} [options]
 * @returns {Promise<RunResult>}
 */
export function run(command, argumentList, { input, ...options } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, argumentList, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
    /** @type {{ stdout: Buffer[], stderr: Buffer[] }} */
    const output = { stdout: [], stderr: [] };
    child.stdout?.on('data', (chunk) => output.stdout.push(chunk));
    child.stderr?.on('data', (chunk) => output.stderr.push(chunk));
    // A child that never reads its input closes the pipe; its exit code says what there is to say.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
    const finish = (/** @type {number | null} */ code, missing = false, note = '') =>
      resolve({
        code,
        missing,
        stdout: Buffer.concat(output.stdout).toString(),
        stderr: Buffer.concat(output.stderr).toString() + note,
      });
    child.on('error', (error) => finish(null, 'code' in error && error.code === 'ENOENT', error.message));
    child.on('close', (code) => finish(code));
  });
}

/**
 * @typedef {object} DetachedProcess
 * @property {number} pid
 * @property {() => boolean} hasExited
 * @property {() => string} logTail What the process has written to its log since it was started, last 4 KB.
 */

/**
 * Starts a server that goes on when we end: own session, output to a file, no handle kept.
 * @param {object} options
 * @param {string} options.command
 * @param {readonly string[]} options.argumentList
 * @param {string} options.directory Working directory.
 * @param {string} options.logFile Appended to; a log above 16 MB is moved to `.1` first.
 * @param {NodeJS.ProcessEnv} [options.environment]
 * @param {{ uid: number, gid: number } | null} [options.user]
 * @returns {Promise<DetachedProcess>}
 */
export async function startDetached({ command, argumentList, directory, logFile, environment, user }) {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openLog(logFile);
  try {
    const child = spawn(command, argumentList, {
      cwd: directory,
      detached: true,
      env: environment ?? process.env,
      stdio: ['ignore', log.descriptor, log.descriptor],
      ...(user ?? {}),
    });
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const { pid } = child;
    if (pid === undefined) throw new Error(`${command} was started without a process id`);
    return {
      pid,
      hasExited: () => child.exitCode !== null || child.signalCode !== null || !isAlive(pid),
      logTail: () => readFileSync(logFile).subarray(log.startOffset).subarray(-4096).toString(),
    };
  } finally {
    closeSync(log.descriptor);
  }
}

/** @param {string} logFile */
function openLog(logFile) {
  const size = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  const rotate = size > ROTATE_LOG_ABOVE_BYTES;
  if (rotate) renameSync(logFile, `${logFile}.1`);
  return { descriptor: openSync(logFile, 'a'), startOffset: rotate ? 0 : size };
}

/**
 * Whether a process runs. A zombie does not: a killed server whose parent never collects it would
 * otherwise look alive for ever.
 * @param {number} pid
 */
export function isAlive(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return false;
  }
  // Without /proc (macOS) the signal's answer stands; with it, no state means that it has just gone.
  if (process.platform !== 'linux') return true;
  const stat = readProcFile(pid, 'stat');
  return !['', 'Z', 'X'].includes(stat.charAt(stat.lastIndexOf(')') + 2));
}

/**
 * The processes whose command line passes the test. Zombies, this process, and the children of a match are
 * left out: a child that has just been forked still shows its parent's line.
 * @param {(commandLine: string) => boolean} accepts Given the arguments joined by spaces.
 * @returns {Promise<number[]>}
 */
export async function findProcesses(accepts) {
  const processes = process.platform === 'linux' ? listFromProc() : await listFromPs();
  const matches = processes.filter(
    ({ pid, commandLine }) => pid !== process.pid && accepts(commandLine) && isAlive(pid),
  );
  const parents = new Set(matches.map(({ pid }) => pid));
  return matches.filter(({ parentPid }) => !parents.has(parentPid())).map(({ pid }) => pid);
}

function listFromProc() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      const pid = Number(name);
      const stat = () => readProcFile(pid, 'stat');
      return {
        pid,
        commandLine: readProcFile(pid, 'cmdline').replaceAll('\0', ' ').trim(),
        // After the name in parentheses, which may hold anything: state, then the parent.
        parentPid: () =>
          Number(
            stat()
              .slice(stat().lastIndexOf(')') + 2)
              .split(' ')[1],
          ),
      };
    });
}

/**
 * @param {number} pid
 * @param {string} name
 * @returns {string} Empty when the process has gone meanwhile.
 */
function readProcFile(pid, name) {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return '';
  }
}

async function listFromPs() {
  const { stdout } = await run('ps', ['-axo', 'pid=,ppid=,command=']);
  return stdout.split('\n').map((line) => {
    const [, pid = '0', parent = '0', commandLine = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return { pid: Number(pid), commandLine, parentPid: () => Number(parent) };
  });
}

/**
 * Ends a process by the given signals, one after the other, until it is gone.
 * @param {number} pid
 * @param {readonly { signal: NodeJS.Signals, graceMs: number }[]} steps
 */
export async function endProcess(pid, steps) {
  for (const { signal, graceMs } of steps) {
    if (!sendSignal(pid, signal)) return;
    if (await waitUntil(() => !isAlive(pid), graceMs)) return;
  }
  throw new Error(`process ${pid} does not end`);
}

/**
 * @param {number} pid
 * @param {NodeJS.Signals} signal
 * @returns {boolean} false when there is no such process any more.
 */
export function sendSignal(pid, signal) {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Polls until the condition holds.
 * @param {() => boolean | Promise<boolean>} condition
 * @param {number} timeoutMs
 * @param {number} [intervalMs]
 * @returns {Promise<boolean>} false when the time ran out.
 */
export async function waitUntil(condition, timeoutMs, intervalMs = 50) {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= deadline) return false;
    await delay(intervalMs);
  }
}
