import { readFileSync } from 'node:fs';

/** Files that a runner has open beside its connections to engines: those of the control plane, of Kafka, of Node itself. */
const OTHER_FILES = 128;

/** The most files that this process may have open, by Linux' `/proc/self/limits`; `null` where it cannot be told. */
export function openFileLimit(
  read: () => string = () => readFileSync('/proc/self/limits', 'utf8'),
): number | null {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(read())?.[1];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}

/**
 * What to say at start when files are too few for the connections that engines may be given; `null` when they suffice.
 * Every request in flight is a connection, and a connection is a file.
 */
export function fileLimitWarning(
  limit: number | null,
  params: { engines: number; window: number },
): string | null {
  const needed = params.engines * params.window + OTHER_FILES;
  if (limit === null || limit >= needed) return null;
  return `this process may open ${limit} files, and ${params.engines} engine(s) with up to ${params.window} requests in flight want ${needed}: raise the limit (ulimit -n ${needed}), or the engines stay idle (EMFILE)`;
}
