// What a stack remembers between two commands, and the files it hands to others.
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @typedef {'kafka' | 'postgres' | 's3'} PartName */

/**
 * What is kept of a part. Ports and secrets outlive the process, so that a part comes back where it was.
 * @typedef {object} PartState
 * @property {number | null} pid `null`: not running, or not ours.
 * @property {Record<string, number>} ports
 * @property {Record<string, string>} secrets
 * @property {Record<string, string>} [externalVariables] Set when an environment variable points to another's server.
 */

/**
 * @typedef {object} StackState
 * @property {number | null} ownerPid The test process an isolated stack belongs to; `null`: nobody in particular.
 * @property {Partial<Record<PartName, PartState>>} parts
 */

/**
 * @typedef {object} Layout
 * @property {string} dir
 * @property {string} cacheDir Jars and binaries, shared by all stacks of this checkout.
 * @property {string} logDir
 * @property {string} stateFile
 * @property {string} lockFile
 * @property {string} environmentFile
 * @property {string} pidsFile
 * @property {(name: PartName) => string} dataDir
 */

/** @type {readonly PartName[]} */
export const PART_NAMES = ['kafka', 'postgres', 's3'];

const repositoryDir = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/**
 * @param {object} [options]
 * @param {string | undefined} [options.dir] Default: `.stack` in the repository.
 * @param {NodeJS.ProcessEnv} [options.environment] `BATCH_INFER_STACK_CACHE` moves the cache.
 * @returns {Layout}
 */
export function stackLayout({ dir, environment = process.env } = {}) {
  const defaultDir = join(repositoryDir, '.stack');
  const stackDir = resolve(dir ?? defaultDir);
  return {
    dir: stackDir,
    cacheDir: resolve(environment.BATCH_INFER_STACK_CACHE ?? join(defaultDir, 'cache')),
    logDir: join(stackDir, 'logs'),
    stateFile: join(stackDir, 'state.json'),
    lockFile: join(stackDir, 'lock'),
    environmentFile: join(stackDir, 'env'),
    pidsFile: join(stackDir, 'pids.json'),
    dataDir: (name) => join(stackDir, name),
  };
}

/** @param {Layout} layout */
export function createFolders(layout) {
  for (const folder of [layout.dir, layout.cacheDir, layout.logDir]) mkdirSync(folder, { recursive: true });
  // PostgreSQL may have to run as another user and must be able to reach its folder.
  chmodSync(layout.dir, 0o755);
}

/**
 * @param {Layout} layout
 * @returns {StackState}
 */
export function loadState(layout) {
  /** @type {StackState} */
  const empty = { ownerPid: null, parts: {} };
  try {
    return { ...empty, ...JSON.parse(readFileSync(layout.stateFile, 'utf8')) };
  } catch {
    return empty;
  }
}

/**
 * Writes the state and, derived from it, `env` and `pids.json`.
 * @param {Layout} layout
 * @param {StackState} state
 * @param {Record<string, string>} variables
 */
export function saveState(layout, state, variables) {
  writeAtomically(layout.stateFile, `${JSON.stringify(state, null, 2)}\n`);
  writeAtomically(layout.pidsFile, `${JSON.stringify(runningPids(state))}\n`);
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
  if (lines.length > 0) writeAtomically(layout.environmentFile, lines.join(''));
  else rmSync(layout.environmentFile, { force: true });
}

/**
 * @param {StackState} state
 * @returns {Partial<Record<PartName, number>>}
 */
export function runningPids(state) {
  /** @type {Partial<Record<PartName, number>>} */
  const pids = {};
  for (const name of PART_NAMES) {
    const pid = state.parts[name]?.pid;
    if (pid) pids[name] = pid;
  }
  return pids;
}

/**
 * A short name for a stack folder, for what has to live outside of it.
 * @param {string} dir
 */
export function folderFingerprint(dir) {
  return createHash('sha256').update(dir).digest('hex').slice(0, 12);
}

/**
 * @param {string} file
 * @param {string} content
 */
function writeAtomically(file, content) {
  const draft = `${file}.${process.pid}.tmp`;
  // The database's and the S3 server's secrets are in here.
  writeFileSync(draft, content, { mode: 0o600 });
  renameSync(draft, file);
}
