/**
 * Packs every public package as npm would publish it, and checks the tarball: publint on the manifest and
 * its files, "are the types wrong" on what a TypeScript user would resolve.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Manifest {
  name: string;
  private?: boolean;
  exports?: Record<string, unknown>;
}

const root = join(import.meta.dirname, '..');
const tarballFolder = mkdtempSync(join(tmpdir(), 'batch-infer-exports-'));

function run(command: string, parameters: string[], cwd = root): string | undefined {
  const { status, stdout, stderr } = spawnSync(command, parameters, { cwd, encoding: 'utf8' });
  if (status === 0) return stdout.trim();
  console.error(`$ ${command} ${parameters.join(' ')}\n${stdout}${stderr}`);
  return undefined;
}

function checkPackage(folder: string, manifest: Manifest): boolean {
  const packed = run('npm', ['pack', '--silent', '--pack-destination', tarballFolder], folder);
  if (packed === undefined) return false;
  const tarball = join(tarballFolder, packed);
  const hasTypes = manifest.exports?.['.'] !== undefined;
  return (
    run('publint', ['run', tarball, '--strict']) !== undefined &&
    (!hasTypes || run('attw', [tarball, '--profile', 'esm-only']) !== undefined)
  );
}

let hasFailed = false;
for (const directory of readdirSync(join(root, 'packages'))) {
  const folder = join(root, 'packages', directory);
  const manifest: Manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (manifest.private === true) continue;
  const isRight = checkPackage(folder, manifest);
  console.log(`${isRight ? 'ok  ' : 'FAIL'} ${manifest.name}`);
  hasFailed ||= !isRight;
}
rmSync(tarballFolder, { recursive: true });
process.exitCode = hasFailed ? 1 : 0;
