import { fstatSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { type FileIdentity, identityOf } from './files/named-file.js';
import { safeTalk, visibleLines } from './terminal/visible-text.js';

/** Everything a command touches of its process, so that tests can hand over their own. */
export interface Io {
  /** Data. Resolves when the reader has taken it. */
  writeOut(text: string | Uint8Array): Promise<void>;
  /** Which file standard output goes to; `null` for a terminal, or where that is unknown. */
  outputIdentity(): FileIdentity | null;
  /** Talk: whatever steers terminals or GitHub Actions in it is shown, not obeyed. */
  writeError(text: string): void;
  /** A command to GitHub Actions, whose parts are escaped already. */
  writeWorkflowCommand(line: string): void;
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
  const decoder = new StringDecoder('utf8');
  const visibleData = (data: string | Uint8Array): string =>
    visibleLines(typeof data === 'string' ? data : decoder.write(Buffer.from(data)));
  return {
    writeOut: (text) =>
      new Promise((resolve, reject) => {
        process.stdout.write(process.stdout.isTTY ? visibleData(text) : text, (error) =>
          error ? reject(error) : resolve(),
        );
      }),
    outputIdentity: () => standardOutputIdentity(),
    writeError: (text) => {
      process.stderr.write(safeTalk(text, process.env));
    },
    writeWorkflowCommand: (line) => {
      process.stderr.write(`${line}\n`);
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
