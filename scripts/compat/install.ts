import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const here = fileURLToPath(new URL('./', import.meta.url));
const target = fileURLToPath(new URL('../../.local/compat/', import.meta.url));

/** Runs `install` unless a stamp says that this very list has been installed. */
async function once(list: string, folder: string, install: () => Promise<unknown>): Promise<void> {
  const stamp = join(folder, '.installed');
  const wanted = readFileSync(join(here, list), 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  mkdirSync(folder, { recursive: true });
  await install();
  writeFileSync(stamp, wanted);
}

/** Installs the npm clients of `package.json`; answers how to load one. */
export async function npmClients(): Promise<<T>(name: string) => Promise<T>> {
  const folder = join(target, 'npm');
  await once('package.json', folder, () => {
    copyFileSync(join(here, 'package.json'), join(folder, 'package.json'));
    return run('npm', ['install', '--silent', '--no-audit', '--no-fund', '--ignore-scripts'], {
      cwd: folder,
    });
  });
  const require = createRequire(join(folder, 'package.json'));
  return (name) => import(pathToFileURL(require.resolve(name)).href);
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
