import { fileURLToPath } from 'node:url';
import { readVersion } from './version.js';

/** What `bin/batch-infer.js` runs. `--version` loads nothing else; commands load themselves. */
const parameters = process.argv.slice(2);

if (parameters.length === 1 && (parameters[0] === '--version' || parameters[0] === '-V')) {
  process.stdout.write(`${readVersion()}\n`);
} else {
  const [{ runCli }, { processIo }] = await Promise.all([import('./cli.js'), import('./io.js')]);
  const entry = fileURLToPath(new URL('../bin/batch-infer.js', import.meta.url));
  process.exitCode = await runCli(parameters, processIo(entry));
  // A channel to a parent process would keep this one alive.
  if (process.connected) process.disconnect();
}
