// PostgreSQL from the system's own packages, TCP on loopback only, with a password.
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { lastLines, MissingPartError, waitUntilServing } from './part.mjs';
import { exchange, isListening } from './ports.mjs';
import { endProcess, findProcesses, isAlive, run, startDetached, waitUntil } from './processes.mjs';
import { folderFingerprint } from './state.mjs';

const MINIMUM_MAJOR = 15;
const DEBIAN_VERSIONS_DIR = '/usr/lib/postgresql';
const USER = 'batch_infer';
const DATABASE = 'batch_infer';

/**
 * @typedef {object} PostgresInstallation
 * @property {string} binDir
 * @property {{ uid: number, gid: number } | null} user PostgreSQL refuses to run as root; `null`: run as ourselves.
 */

/** @type {import('./part.mjs').Part<PostgresInstallation>} */
export const postgres = {
  name: 'postgres',
  portNames: ['client'],
  createSecrets: () => ({ password: randomBytes(16).toString('hex') }),

  async locate(context) {
    const user = serverUser();
    const dataMajor = readDataMajor(dataHome(context));
    const candidates = (await findBinDirs(context.environment)).filter(({ major }) =>
      dataMajor === null ? major >= MINIMUM_MAJOR : major === dataMajor,
    );
    const [newest] = candidates.sort((left, right) => right.major - left.major);
    if (newest !== undefined) return { binDir: newest.binDir, user };
    const wanted = dataMajor === null ? `>= ${MINIMUM_MAJOR}` : `${dataMajor} (its data is of that version)`;
    const packageName = dataMajor === null ? 'postgresql' : `postgresql-${dataMajor}`;
    throw new MissingPartError(
      `postgres: PostgreSQL ${wanted} is missing under ${DEBIAN_VERSIONS_DIR}/*/bin and on PATH: ${installHint(packageName)}, or set DATABASE_URL or PG_BIN_DIR`,
    );
  },

  async start({ binDir, user }, { context, ports: { client = 0 }, secrets, onSpawn }) {
    const home = prepareHome(context, user);
    const dataDir = join(home, 'data');
    await initializeOnce({ binDir, user, home, password: secrets.password ?? '' });
    await clearStalePidFile(dataDir);
    const server = await startDetached({
      command: join(binDir, 'postgres'),
      argumentList: [
        ...['-D', dataDir, '-p', String(client), '-c', 'listen_addresses=127.0.0.1'],
        ...['-c', 'unix_socket_directories=', '-c', 'max_connections=200'],
      ],
      directory: home,
      logFile: context.logFile,
      user,
    });
    onSpawn(server.pid);
    await waitUntilServing({
      name: 'postgres',
      server,
      answers: () => postgres.answers({ client }, secrets),
      portTakenPattern: /could not bind|Address already in use/i,
      explain: (log) => lastLines(log, /FATAL|PANIC|ERROR/),
    });
    await createDatabase({ binDir, client, password: secrets.password ?? '' });
    return server.pid;
  },

  isOurs: (context, commandLine) =>
    /(^|\/)(postgres|postmaster) /.test(commandLine) &&
    commandLine.includes(`-D ${join(dataHome(context), 'data')} `),

  answers: async ({ client = 0 }) => {
    // "Authentication" as the answer to a start-up message: up to then it says that it is starting.
    const answer = await exchange({
      host: '127.0.0.1',
      port: client,
      message: startupMessage({ user: USER, database: 'postgres' }),
      enough: (bytes) => bytes.length > 0,
    });
    return answer?.toString('latin1', 0, 1) === 'R';
  },

  async stop(context, pid) {
    await endProcess(pid, [
      // Fast shutdown, then the one without a checkpoint; only then the one that leaves orphans.
      { signal: 'SIGINT', graceMs: 5_000 },
      { signal: 'SIGQUIT', graceMs: 2_000 },
      { signal: 'SIGKILL', graceMs: 5_000 },
    ]);
    await endOrphans(join(dataHome(context), 'data'));
  },

  wipe(context) {
    for (const home of [context.dataDir, fallbackHome(context.dataDir)]) {
      rmSync(home, { recursive: true, force: true });
    }
  },

  variables: ({ client }, { password }) => ({
    BATCH_INFER_DATABASE_URL: `postgres://${USER}:${password}@127.0.0.1:${client}/${DATABASE}`,
  }),

  async useExternal({ DATABASE_URL: databaseUrl }) {
    if (!databaseUrl) return null;
    const url = URL.canParse(databaseUrl) ? new URL(databaseUrl) : null;
    if (url === null || !['postgres:', 'postgresql:'].includes(url.protocol)) {
      throw new MissingPartError(
        'postgres: DATABASE_URL is not a postgres:// URL: correct it, or unset it to use our own',
      );
    }
    if (await isListening(url.hostname, Number(url.port || 5432))) {
      return { BATCH_INFER_DATABASE_URL: databaseUrl };
    }
    throw new MissingPartError(
      `postgres: nothing listens at DATABASE_URL's ${url.host}: start it, or unset the variable to use our own`,
    );
  },
};

/** @returns {{ uid: number, gid: number } | null} */
function serverUser() {
  if (process.getuid?.() !== 0) return null;
  const entry = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([name]) => name === 'postgres');
  if (entry === undefined) {
    throw new MissingPartError(
      `postgres: it does not run as root and there is no user postgres: ${installHint('postgresql')}, or set DATABASE_URL`,
    );
  }
  return { uid: Number(entry[2]), gid: Number(entry[3]) };
}

/** @param {string} packageName */
function installHint(packageName) {
  const isDebian = existsSync('/etc/debian_version');
  if (!isDebian) return `install ${packageName}`;
  const sudo = process.getuid?.() === 0 ? '' : 'sudo ';
  return `${sudo}apt-get update && ${sudo}apt-get install -y ${packageName}`;
}

/** @param {NodeJS.ProcessEnv} environment */
async function findBinDirs(environment) {
  const folders = environment.PG_BIN_DIR ? [environment.PG_BIN_DIR] : await systemBinDirs();
  const found = await Promise.all(
    folders.map(async (binDir) => {
      const { stdout } = await run(join(binDir, 'postgres'), ['--version']);
      const major = Number(/\(PostgreSQL\) (\d+)/.exec(stdout)?.[1] ?? 0);
      const isComplete = ['initdb', 'psql'].every((name) => existsSync(join(binDir, name)));
      return { binDir, major: isComplete ? major : 0 };
    }),
  );
  return found.filter(({ major }) => major > 0);
}

async function systemBinDirs() {
  const versions = existsSync(DEBIAN_VERSIONS_DIR) ? readdirSync(DEBIAN_VERSIONS_DIR) : [];
  const { stdout } = await run('pg_config', ['--bindir']);
  const onPath = stdout.trim() === '' ? [] : [stdout.trim()];
  return [...versions.map((version) => join(DEBIAN_VERSIONS_DIR, version, 'bin')), ...onPath];
}

/** @param {string} home */
function readDataMajor(home) {
  try {
    return Number(readFileSync(join(home, 'data/PG_VERSION'), 'utf8').trim());
  } catch {
    return null;
  }
}

/**
 * The folder that holds `data`. A checkout under /root cannot be reached by the user that the server has
 * to run as; the data then lives under the system's folder for temporary files that survive a reboot.
 * @param {{ dataDir: string }} context
 */
function dataHome({ dataDir }) {
  const fallback = fallbackHome(dataDir);
  return existsSync(fallback) ? fallback : dataDir;
}

/** @param {string} dataDir */
function fallbackHome(dataDir) {
  return `/var/tmp/batch-infer-postgres-${folderFingerprint(dataDir)}`;
}

/**
 * @param {import('./part.mjs').PartContext} context
 * @param {{ uid: number, gid: number } | null} user
 */
function prepareHome(context, user) {
  const preferred = dataHome(context);
  const home =
    user === null || isReachableBy(context.dataDir, user) ? preferred : fallbackHome(context.dataDir);
  if (home !== context.dataDir && !existsSync(home)) {
    context.report(`postgres  keeps its data in ${home}: its user cannot reach ${context.dataDir}`);
  }
  mkdirSync(home, { recursive: true, mode: 0o700 });
  if (user === null) return home;
  const { uid } = statSync(home);
  if (uid !== user.uid && uid !== 0) throw new Error(`postgres: ${home} belongs to another user (${uid})`);
  chownSync(home, user.uid, user.gid);
  return home;
}

/**
 * Whether a user may pass through every folder above.
 * @param {string} folder
 * @param {{ uid: number, gid: number }} user
 */
function isReachableBy(folder, { uid, gid }) {
  for (let parent = join(folder, '..'); ; parent = join(parent, '..')) {
    const status = statSync(parent);
    const permission = status.uid === uid ? 0o100 : status.gid === gid ? 0o010 : 0o001;
    if ((status.mode & permission) === 0) return false;
    if (parent === '/') return true;
  }
}

/**
 * Makes the cluster unless it is there. Made beside and moved into place, so that an interrupted initdb
 * is not taken for a finished one.
 * @param {PostgresInstallation & { home: string, password: string }} options
 */
async function initializeOnce({ binDir, user, home, password }) {
  const dataDir = join(home, 'data');
  if (existsSync(join(dataDir, 'PG_VERSION'))) return;
  const draftDir = join(home, 'data.draft');
  const passwordFile = join(home, 'password');
  rmSync(draftDir, { recursive: true, force: true });
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user !== null) chownSync(passwordFile, user.uid, user.gid);
  const { code, stdout, stderr } = await run(
    join(binDir, 'initdb'),
    [
      ...['-D', draftDir, '-U', USER, '--pwfile', passwordFile, '-A', 'scram-sha-256'],
      ...['-E', 'UTF8', '--locale=C', '--no-instructions'],
    ],
    { cwd: home, ...(user ?? {}) },
  );
  rmSync(passwordFile);
  if (code !== 0) throw new Error(`postgres: initdb failed: ${lastLines(stdout + stderr, /error|fatal/i)}`);
  renameSync(draftDir, dataDir);
}

/**
 * A killed server leaves `postmaster.pid`. The next one refuses to start while that pid seems alive, and
 * a zombie, or an unrelated process with the same number, does seem so.
 * @param {string} dataDir
 */
async function clearStalePidFile(dataDir) {
  const pidFile = join(dataDir, 'postmaster.pid');
  if (!existsSync(pidFile)) return;
  const pid = Number.parseInt(readFileSync(pidFile, 'utf8'), 10);
  const servers = await findProcesses((commandLine) => commandLine.includes(`-D ${dataDir} `));
  if (servers.includes(pid)) throw new Error(`postgres: process ${pid} still serves ${dataDir}`);
  await endOrphans(dataDir);
  rmSync(pidFile, { force: true });
}

/**
 * Waits for the children of a server that was killed, which end by themselves unless they are in the
 * middle of something, and ends those that stay: two servers must never share one data folder.
 * @param {string} dataDir
 */
async function endOrphans(dataDir) {
  if (await waitUntil(() => orphansOf(dataDir).length === 0, 3_000)) return;
  for (const pid of orphansOf(dataDir)) await endProcess(pid, [{ signal: 'SIGKILL', graceMs: 5_000 }]);
}

/**
 * Processes that work in the data folder; every process of a PostgreSQL server does.
 * @param {string} dataDir
 */
function orphansOf(dataDir) {
  if (process.platform !== 'linux' || !existsSync(dataDir)) return [];
  const folder = realpathSync(dataDir);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && workingDirectory(name) === folder && isAlive(Number(name)))
    .map(Number);
}

/** @param {string} pid */
function workingDirectory(pid) {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}

/** @param {{ binDir: string, client: number, password: string }} options */
async function createDatabase({ binDir, client, password }) {
  const { code, stderr } = await run(
    join(binDir, 'psql'),
    ['-h', '127.0.0.1', '-p', String(client), '-U', USER, '-d', 'postgres', '-qtAX', '-v', 'ON_ERROR_STOP=1'],
    {
      env: { ...process.env, PGPASSWORD: password },
      input: `select 'create database ${DATABASE}' where not exists (select from pg_database where datname = '${DATABASE}') \\gexec\n`,
    },
  );
  if (code === 0) return;
  const hint = /password authentication failed/.test(stderr)
    ? '; the data is older than this password: npm run stack:down -- --wipe'
    : '';
  throw new Error(
    `postgres: database ${DATABASE} cannot be made: ${lastLines(stderr, /error|fatal/i)}${hint}`,
  );
}

/** @param {Record<string, string>} parameters */
function startupMessage(parameters) {
  const text = Object.entries(parameters)
    .map(([name, value]) => `${name}\0${value}\0`)
    .join('');
  const message = Buffer.alloc(9 + Buffer.byteLength(text));
  message.writeInt32BE(message.length, 0);
  message.writeInt32BE(196_608, 4);
  message.write(text, 8);
  return message;
}
