// What the three parts have in common: the interface they implement and the errors they raise.
import { waitUntil } from './processes.mjs';

/**
 * @typedef {object} PartContext
 * @property {string} dataDir Folder of this part, absolute.
 * @property {string} cacheDir
 * @property {string} logFile
 * @property {NodeJS.ProcessEnv} environment
 * @property {(message: string) => void} report For what takes long.
 */

/**
 * @typedef {object} StartOptions
 * @property {PartContext} context
 * @property {Record<string, number>} ports
 * @property {Record<string, string>} secrets
 * @property {(pid: number) => void} onSpawn Called as soon as there is a process, before it is ready.
 */

/**
 * One server of the stack.
 * @template Installation What `locate` found and `start` needs.
 * @typedef {object} Part
 * @property {import('./state.mjs').PartName} name
 * @property {readonly string[]} portNames
 * @property {(context: PartContext) => Promise<Installation>} locate
 *   Finds or installs the program. Throws {@link MissingPartError} with one line on how to get it.
 * @property {() => Record<string, string>} createSecrets Made once per stack.
 * @property {(installation: Installation, options: StartOptions) => Promise<number>} start
 *   Returns the pid that serves, once it serves. Throws {@link PortTakenError} when a port went to another.
 * @property {(context: PartContext, commandLine: string) => boolean} isOurs
 *   Whether a command line is this stack's server.
 * @property {(ports: Record<string, number>, secrets: Record<string, string>) => Promise<boolean>} answers
 * @property {(context: PartContext, pid: number) => Promise<void>} stop
 * @property {(context: PartContext) => void} wipe Deletes the data.
 * @property {(ports: Record<string, number>, secrets: Record<string, string>) => Record<string, string>} variables
 *   What `serve` and `runner` need to know.
 * @property {(environment: NodeJS.ProcessEnv) => Promise<Record<string, string> | null>} useExternal
 *   The variables of a server that the environment points to; `null` when it points to none. Throws
 *   {@link MissingPartError} when that server does not answer.
 */

/** The program of a part is not there and cannot be had; the message is one line and says how to get it. */
export class MissingPartError extends Error {
  /** @override */
  name = 'MissingPartError';
}

/** Somebody else took the port between our look and the server's start: worth another try with another. */
export class PortTakenError extends Error {
  /** @override */
  name = 'PortTakenError';
}

/**
 * Waits until a server that was just started serves, and says why if it does not.
 * @param {object} options
 * @param {import('./state.mjs').PartName} options.name
 * @param {import('./processes.mjs').DetachedProcess} options.server
 * @param {() => Promise<boolean>} options.answers
 * @param {RegExp} options.portTakenPattern How this server's log says that its port is taken.
 * @param {(log: string) => string} options.explain Picks the telling lines of the log.
 * @param {number} [options.timeoutMs]
 */
export async function waitUntilServing({
  name,
  server,
  answers,
  portTakenPattern,
  explain,
  timeoutMs = 60_000,
}) {
  // The process is looked at first: another server on the same port must not count as ours.
  const settled = await waitUntil(async () => server.hasExited() || (await answers()), timeoutMs);
  if (settled && !server.hasExited()) return;
  const log = server.logTail();
  if (server.hasExited()) {
    if (portTakenPattern.test(log)) throw new PortTakenError(`${name}: its port is taken`);
    throw new Error(`${name} ended at its start: ${explain(log)}`);
  }
  throw new Error(`${name} does not answer ${timeoutMs / 1000} s after its start: ${explain(log)}`);
}

/**
 * The last lines of a log that match, or its last lines, as one line.
 * @param {string} log
 * @param {RegExp} pattern
 */
export function lastLines(log, pattern) {
  const lines = log.trim().split('\n');
  const telling = lines.filter((line) => pattern.test(line));
  return (telling.length > 0 ? telling : lines).slice(-2).join(' | ').trim() || 'its log is empty';
}
