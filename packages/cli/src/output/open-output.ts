import { access, constants, stat } from 'node:fs/promises';
import { type CliError, usageError } from '../cli-error.js';
import { type FileIdentity, findFile, identityOf, isSameFile } from '../files/named-file.js';
import type { Io } from '../io.js';
import type { Settings } from '../settings/settings.js';
import { partPathsOf, ResultFile } from './result-file.js';
import type { ResultOutput } from './result-output.js';
import { ResultStream, StandardOutput } from './result-stream.js';

/** The input of the same command, which no output may be. */
export interface OtherFile {
  readonly name: string;
  readonly identity: FileIdentity | null;
}

/**
 * Finds out before anything is submitted what `-o` names and whether it can be written. A plain file is replaced when
 * all results are there; links are followed; pipes, devices and descriptors (`-`, `/dev/stdout`, `>(…)`) are written to
 * as they are.
 *
 * @throws CliError (usage) when it cannot be written, or is the input.
 */
export async function openOutput(
  name: string,
  io: Io,
  input: OtherFile | null = null,
): Promise<ResultOutput> {
  if (name === '')
    throw usageError('-o needs the name of a file', 'for example -o results.jsonl, or -o - for stdout');
  if (name === '-') return standardOutput(name, io, input);
  const found = await findFile(name, io.workingDirectory);
  switch (found.kind) {
    case 'folder':
      throw isFolder(name);
    case 'unusable':
      throw usageError(`Cannot write ${name}: it is ${found.what}`, 'choose a file or a pipe with -o');
    case 'descriptor':
      if (found.descriptor === 1) return standardOutput(name, io, input);
      refuseInput(name, identityOf(found.stats), input);
      return new ResultStream(name, found.descriptor, io);
    case 'stream':
      refuseInput(name, identityOf(found.stats), input);
      await access(found.path, constants.W_OK).catch(() => {
        throw usageError(`Cannot write ${name}: no permission`, 'choose another file with -o');
      });
      return new ResultStream(name, found.path, io);
    case 'plain':
    case 'absent': {
      if (/[/\\]$/.test(name)) throw isFolder(name);
      const existing = found.kind === 'plain' ? found.stats : null;
      if (existing !== null) refuseInput(name, identityOf(existing), input);
      // The parts are written, too.
      for (const path of Object.values(partPathsOf(found.path)))
        refuseInput(name, await identityAt(path), input);
      return await ResultFile.prepare(name, found.path, existing);
    }
  }
}

function standardOutput(name: string, io: Io, input: OtherFile | null): ResultOutput {
  refuseInput(name === '-' ? 'standard output' : name, io.outputIdentity(), input);
  return new StandardOutput(io);
}

/** The output that `-o` names; `null` without one. @throws CliError (usage) as `openOutput`. */
export async function openChosenOutput(
  settings: Settings,
  io: Io,
  input: OtherFile | null = null,
): Promise<ResultOutput | null> {
  const name = settings.text('output');
  if (name === undefined) return null;
  const output = await openOutput(name, io, input);
  if (output.isStandardOutput && settings.switch('json'))
    throw usageError('--json needs -o FILE: both would write to stdout');
  return output;
}

async function identityAt(path: string): Promise<FileIdentity | null> {
  const stats = await stat(path, { bigint: true }).catch(() => null);
  return stats === null ? null : identityOf(stats);
}

function refuseInput(name: string, output: FileIdentity | null, input: OtherFile | null): void {
  if (input === null || !isSameFile(output, input.identity)) return;
  throw usageError(
    `The results would be written over the input: ${name} ${name === input.name ? 'is the input' : `and ${input.name} are the same file`}`,
    'give another file with -o; nothing was submitted and nothing was changed',
  );
}

const isFolder = (name: string): CliError =>
  usageError(
    `Cannot write ${name}: it is a folder`,
    `give a file, such as -o ${name.replace(/[/\\]+$/, '')}/results.jsonl`,
  );
