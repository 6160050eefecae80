import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { acquireLock } from '../stack/index.mjs';

const run = promisify(execFile);
const here = fileURLToPath(new URL('./', import.meta.url));
const target = fileURLToPath(new URL('../../.local/compat/', import.meta.url));

/**
 * Runs `install` unless a stamp says that this very list has been installed. One at a time for each folder: test files
 * run side by side and share clients.
 */
async function once(list: string, folder: string, install: () => Promise<unknown>): Promise<void> {
  const stamp = join(folder, '.installed');
  const wanted = readFileSync(join(here, list), 'utf8');
  const isInstalled = () => existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted;
  if (isInstalled()) return;
  mkdirSync(folder, { recursive: true });
  const release = await acquireLock(join(folder, '.installing'), { onWait: () => undefined });
  try {
    if (isInstalled()) return;
    await install();
    writeFileSync(stamp, wanted);
  } finally {
    release();
  }
}

/** Without scripts: a client must not need one, and none is run that came over the network. */
function npmInstall(folder: string, ...words: string[]): Promise<unknown> {
  const quiet = ['install', '--silent', '--no-audit', '--no-fund', '--ignore-scripts'];
  return run('npm', [...quiet, ...words], { cwd: folder });
}

/** Installs the npm clients of `package.json`, or of a folder beside it; answers how to load one. */
export async function npmClients(set?: string): Promise<<T>(name: string) => Promise<T>> {
  const folder = join(target, set ?? 'npm');
  const list = join(set ?? '', 'package.json');
  await once(list, folder, () => {
    copyFileSync(join(here, list), join(folder, 'package.json'));
    return npmInstall(folder);
  });
  const require = createRequire(join(folder, 'package.json'));
  return (name) => import(pathToFileURL(require.resolve(name)).href);
}

/**
 * Installs promptfoo; answers the file of its command. Of its optional packages, two gigabytes of other programs'
 * clients and browsers, only the SQLite binding of this machine is needed.
 */
export async function promptfoo(): Promise<string> {
  const folder = join(target, 'promptfoo');
  const modules = join(folder, 'node_modules');
  await once('promptfoo/package.json', folder, async () => {
    copyFileSync(join(here, 'promptfoo', 'package.json'), join(folder, 'package.json'));
    const slim = ['--omit=optional', '--omit=peer'];
    await npmInstall(folder, ...slim);
    const libsql = JSON.parse(readFileSync(join(modules, 'libsql', 'package.json'), 'utf8')) as {
      optionalDependencies: Record<string, string>;
    };
    const system = `@libsql/${process.platform}-${process.arch}`;
    const bindings = Object.entries(libsql.optionalDependencies).filter(([name]) =>
      [system, `${system}-gnu`, `${system}-msvc`].includes(name),
    );
    await npmInstall(
      folder,
      ...slim,
      '--no-save',
      ...bindings.map(([name, version]) => `${name}@${version}`),
    );
  });
  return join(modules, 'promptfoo', 'dist', 'src', 'entrypoint.js');
}

/** Installs the Python clients of a requirements file into a virtual environment; answers its `bin` folder. */
export async function pythonClients(requirements: string): Promise<string> {
  const folder = join(target, requirements.replace('.txt', ''));
  const bin = join(folder, 'bin');
  await once(requirements, folder, async () => {
    await run('python3', ['-m', 'venv', folder]);
    const words = ['-m', 'pip', 'install', '--quiet', '-r', join(here, requirements)];
    await run(join(bin, 'python3'), words, { timeout: 600_000 });
  });
  return bin;
}
