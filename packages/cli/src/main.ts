import { fileURLToPath } from 'node:url';
import { readVersion } from './version.js';

/** What `bin/batch-infer.js` runs. `--version` loads nothing else; commands load themselves. */
const parameters = process.argv.slice(2);
/** What is still open when a command has ended may keep the process alive for so long. */
const LEFTOVERS_MS = 1_000;
/** Commands that open a data folder: what they make is nobody else's. Engines of runners share files with others. */
const DATA_COMMANDS = ['serve', 'keys'];
/** Commands that jobs of any size pass through. */
const BULK_COMMANDS = ['serve', 'runner', 'run', 'submit', 'results', 'errors', 'validate'];

if (parameters.length === 1 && (parameters[0] === '--version' || parameters[0] === '-V')) {
  process.stdout.write(`${readVersion()}\n`);
} else {
  if (DATA_COMMANDS.includes(parameters[0] ?? '')) process.umask(0o077);
  if (BULK_COMMANDS.includes(parameters[0] ?? '')) {
    const { keepHeapSmall } = await import('./heap.js');
    keepHeapSmall();
  }
  const [{ runCli }, { processIo }] = await Promise.all([import('./cli.js'), import('./io.js')]);
  const entry = fileURLToPath(new URL('../bin/batch-infer.js', import.meta.url));
  process.exitCode = await runCli(parameters, processIo(entry));
  // A channel to a parent process would keep this one alive.
  if (process.connected) process.disconnect();
  // So would a socket that a client library forgot, for ever: the command has ended and its output is written.
  setTimeout(() => process.exit(), LEFTOVERS_MS).unref();
}
