import { readFile, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { usageError } from '../cli-error.js';
import type { Io } from '../io.js';
import type { OptionSpec } from '../settings/options.js';
import type { Settings } from '../settings/settings.js';

export const PID_FILE_OPTION: OptionSpec = {
  flag: 'pid-file',
  value: 'FILE',
  description: 'write the process id here while it runs: the process to send signals to, also below npx',
};

/**
 * Writes the id of this process, and removes the file at the end. A part that another one supervises writes none: it has
 * the same settings.
 *
 * @throws CliError (usage) when the file holds anything but a process id, or cannot be written.
 */
export async function writePidFile(settings: Settings, io: Io): Promise<AsyncDisposable> {
  const name = settings.text('pid-file');
  if (name === undefined || process.connected) return { [Symbol.asyncDispose]: async () => undefined };
  const path = resolve(io.workingDirectory, name);
  const text = `${process.pid}\n`;
  const there = await readFile(path, 'utf8').catch(() => '');
  if (!/^\s*\d*\s*$/.test(there))
    throw usageError(`--pid-file ${name} holds something else than a process id`, 'give another file');
  await writeFile(path, text).catch((error: unknown) => {
    throw usageError(
      `--pid-file ${name} cannot be written: ${error instanceof Error ? error.message : String(error)}`,
      'give a file in a folder that is there and may be written',
    );
  });
  const remove = async () => {
    // Another process may have taken the file over.
    if ((await readFile(path, 'utf8').catch(() => '')) === text) await rm(path, { force: true });
  };
  return { [Symbol.asyncDispose]: remove };
}

/** Tells whoever started it from a shell which process to stop; who supervises it knows. */
export function tellPid(io: Io): void {
  if (!process.connected) io.writeError(`pid ${process.pid}: SIGTERM drains it\n`);
}
