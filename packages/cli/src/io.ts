import { fstatSync } from 'node:fs';
import { type FileIdentity, identityOf } from './files/named-file.js';

/** Everything a command touches of its process, so that tests can hand over their own. */
export interface Io {
  /** Data. Resolves when the reader has taken it. */
  writeOut(text: string | Uint8Array): Promise<void>;
  /** Which file standard output goes to; `null` for a terminal, or where that is unknown. */
  outputIdentity(): FileIdentity | null;
  /** Talk. */
  writeError(text: string): void;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  /** True when stderr is a terminal: one live progress line instead of a line now and then. */
  readonly isTerminal: boolean;
  /** The executable file, for starting this command again as a child. */
  readonly entry: string;
}

/** The real process. A reader of stdout that goes away (`| head`) ends the command quietly. */
export function processIo(entry: string): Io {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  return {
    writeOut: (text) =>
      new Promise((resolve, reject) => {
        process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
      }),
    outputIdentity: () => standardOutputIdentity(),
    writeError: (text) => {
      process.stderr.write(text);
    },
    environment: process.env,
    workingDirectory: process.cwd(),
    isTerminal: process.stderr.isTTY === true,
    entry,
  };
}

function standardOutputIdentity(): FileIdentity | null {
  try {
    return identityOf(fstatSync(1, { bigint: true }));
  } catch {
    // Closed: nothing can be written over.
    return null;
  }
}
