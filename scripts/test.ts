/**
 * `npm test`: starts the real parts (Kafka, PostgreSQL, S3) for the tests, runs vitest with the given arguments, stops
 * what it started, and tells how many tests passed, failed and were skipped, and why. Without a real part its tests are
 * skipped; with CI=true that, like every skip without a listed reason, is a failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describeSummary, hasUnlistedSkips, summarize } from './test-run/summary.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const REPORT = `${root}.local/test-results.json`;
/** The closing lines, for .ci/run to repeat as its own. */
const SUMMARY = `${root}.local/test-summary.txt`;

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

/** Says what the report holds. Returns 1 when a test was skipped that may not be. */
function closeRun(chosenByName: boolean): number {
  if (!existsSync(REPORT)) {
    console.error('\nThe tests ended without a report: none of them counts.');
    return 1;
  }
  const summary = summarize(JSON.parse(readFileSync(REPORT, 'utf8')), root);
  const text = describeSummary(summary);
  writeFileSync(SUMMARY, `${text}\n`);
  console.log(`\n${text}`);
  // Whoever picks tests by name skips all others on purpose.
  if (process.env.CI !== 'true' || chosenByName || !hasUnlistedSkips(summary)) return 0;
  console.error('With CI=true a test that is skipped without a listed reason is a failure.');
  return 1;
}

/** All but `compat`, which installs clients by the hundred megabytes and runs by name. */
const projects = ['unit', 'integration', 'boundaries'].flatMap((name) => ['--project', name]);
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${REPORT}`];
const given = process.argv.slice(2);
const chosenByName = given.some((word) => /^(?:-t|--testNamePattern)(?:=|$)/.test(word));

for (const file of [REPORT, SUMMARY]) rmSync(file, { force: true });
const wasUp = stackIsUp();
const upStatus = run(process.execPath, ['scripts/stack/up.mjs']);
if (upStatus !== 0) {
  if (process.env.CI === 'true') process.exit(upStatus);
  console.error('SKIPPED: not all real parts run (see above); tests that need them are skipped.');
}
let status = 1;
try {
  status = run(process.execPath, [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...projects,
    ...reporters,
    ...given,
  ]);
} finally {
  if (!wasUp) run(process.execPath, ['scripts/stack/down.mjs']);
}
const closing = closeRun(chosenByName);
process.exitCode = status === 0 ? closing : status;
