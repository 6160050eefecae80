/**
 * `npm test`: starts the real parts (Kafka, PostgreSQL, S3) for the tests, runs vitest with the given arguments, and
 * stops what it started. Without a real part its tests say SKIPPED; with CI=true that is a failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

function run(command: string, words: readonly string[]): number {
  const result = spawnSync(command, words, { cwd: root, stdio: 'inherit' });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

/** True when the developer has a stack running already: it is used, and left running. */
function stackIsUp(): boolean {
  const file = `${root}.stack/pids.json`;
  if (!existsSync(file)) return false;
  const pids = JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
  return Object.values(pids).some((pid) => existsSync(`/proc/${pid}`));
}

/** All but `compat`, which installs clients by the hundred megabytes and runs by name. */
const projects = ['unit', 'integration', 'boundaries'].flatMap((name) => ['--project', name]);
/** Read by .ci/run for its closing line. */
const reporters = ['--reporter=default', '--reporter=json', '--outputFile.json=.local/test-results.json'];

const wasUp = stackIsUp();
const upStatus = run(process.execPath, ['scripts/stack/up.mjs']);
if (upStatus !== 0) {
  if (process.env.CI === 'true') process.exit(upStatus);
  console.error('SKIPPED: not all real parts run (see above); tests that need them are skipped.');
}
try {
  const words = [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...projects,
    ...reporters,
    ...process.argv.slice(2),
  ];
  process.exitCode = run(process.execPath, words);
} finally {
  if (!wasUp) run(process.execPath, ['scripts/stack/down.mjs']);
}
