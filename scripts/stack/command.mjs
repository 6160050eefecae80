// What the two commands share: arguments, talk, and how they end.
import { parseArgs } from 'node:util';
import { acquireLock } from './lock.mjs';
import { Stack } from './stack.mjs';
import { createFolders, PART_NAMES, stackLayout } from './state.mjs';

/** @typedef {import('./state.mjs').PartName} PartName */

/** The command line makes no sense; the message says which part of it. */
export class UsageError extends Error {
  /** @override */
  name = 'UsageError';
}

/**
 * @param {readonly string[]} argumentList
 * @returns {{ names: PartName[], dir: string | undefined, wipe: boolean, help: boolean }}
 */
function parseStackArguments(argumentList) {
  const values = parseOrExplain(argumentList);
  return {
    names: values.only === undefined ? [...PART_NAMES] : parsePartNames(values.only),
    dir: values.dir,
    wipe: values.wipe ?? false,
    help: values.help ?? false,
  };
}

/** @param {readonly string[]} argumentList */
function parseOrExplain(argumentList) {
  try {
    const options = /** @type {const} */ ({
      only: { type: 'string' },
      dir: { type: 'string' },
      wipe: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    });
    return parseArgs({ args: [...argumentList], options }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} list */
function parsePartNames(list) {
  return list.split(',').map((word) => {
    const name = PART_NAMES.find((candidate) => candidate === word.trim());
    if (name === undefined) throw new UsageError(`--only takes ${PART_NAMES.join(', ')}; not "${word}"`);
    return name;
  });
}

/**
 * Talk goes to stderr: stdout stays free for data.
 * @param {string} message
 */
export function say(message) {
  process.stderr.write(`${message}\n`);
}

/**
 * Runs a stack command under the stack's lock and turns its end into an exit code: 0, 1 (something is missing or
 * failed), 2 (usage).
 *
 * @param {string} help Printed instead, when asked for.
 * @param {(context: CommandContext) => Promise<boolean>} command Whether all went well.
 */
export async function runStackCommand(help, command) {
  try {
    process.exitCode = (await runLocked(help, command)) ? 0 : 1;
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}

/**
 * @typedef {object} CommandContext
 * @property {Stack} stack
 * @property {ReturnType<typeof stackLayout>} layout
 * @property {ReturnType<typeof parseStackArguments>['names']} names
 * @property {ReturnType<typeof parseStackArguments>['wipe']} wipe
 */

/**
 * @param {string} help
 * @param {(context: CommandContext) => Promise<boolean>} command
 */
async function runLocked(help, command) {
  const { names, dir, wipe, help: wantsHelp } = parseStackArguments(process.argv.slice(2));
  if (wantsHelp) {
    say(help);
    return true;
  }
  const layout = stackLayout({ dir });
  createFolders(layout);
  const release = await acquireLock(layout.lockFile, {
    onWait: (pid) => say(`waiting for another stack command (pid ${pid}) …`),
  });
  try {
    const stack = new Stack({ layout, environment: process.env, report: say });
    return await command({ stack, layout, names, wipe });
  } finally {
    release();
  }
}
