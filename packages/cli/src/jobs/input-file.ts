import { type BigIntStats, constants, createWriteStream, openSync, rmSync } from 'node:fs';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LIMITS } from '@batch-infer/contracts';
import { CliError, usageError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import { readDescriptor } from '../files/descriptor-streams.js';
import { type FileIdentity, findFile, identityOf, openDescriptor } from '../files/named-file.js';
import type { Io } from '../io.js';

/** Somebody who starts a command that reads a pipe or a terminal is told so after this time. */
const TELL_AFTER_MS = 2_000;

/** The input as a file that can be read several times: hashed, checked, sent, sent again. */
export interface InputFile extends AsyncDisposable {
  readonly path: string;
  /** As the user named it. */
  readonly name: string;
}

/** An input that was found and not read yet. */
export interface InputSource {
  readonly name: string;
  /** Which file it is, so that no output is written over it. */
  readonly identity: FileIdentity | null;
  /**
   * The input as a file. What can be read only once (a pipe, standard input, `<(…)`) is copied to a temporary file,
   * which goes with the command.
   *
   * @throws CliError when nothing comes, or more than a file may have.
   */
  open(signal: AbortSignal): Promise<InputFile>;
}

/**
 * Finds the input; `-` is standard input.
 *
 * @throws CliError (usage) when it cannot be read.
 */
export async function findInput(name: string, io: Io): Promise<InputSource> {
  const shown = name === '-' ? 'standard input' : name;
  const found = name === '-' ? openDescriptor(0, shown) : await findFile(name, io.workingDirectory);
  switch (found.kind) {
    case 'absent':
      throw usageError(`There is no file ${name}`);
    case 'folder':
      throw usageError(`${name} is a folder; give a JSONL file`);
    case 'unusable':
      throw usageError(`${name} is ${found.what}; give a JSONL file`);
    case 'plain':
      await access(found.path, constants.R_OK).catch(() => {
        throw usageError(`${name} cannot be read: no permission`);
      });
      return {
        name: shown,
        identity: identityOf(found.stats),
        open: async () => ({ path: found.path, name: shown, [Symbol.asyncDispose]: async () => undefined }),
      };
    case 'stream':
      return spooled(shown, found.stats, io, () =>
        // Without waiting for a writer: the wait must be one that can be interrupted.
        readDescriptor(openSync(found.path, constants.O_RDONLY | constants.O_NONBLOCK)),
      );
    case 'descriptor':
      return spooled(shown, found.stats, io, () =>
        found.descriptor === 0 ? process.stdin : readDescriptor(found.descriptor),
      );
  }
}

function spooled(name: string, stats: BigIntStats, io: Io, read: () => Readable): InputSource {
  return { name, identity: identityOf(stats), open: (signal) => spool(name, read, io, signal) };
}

async function spool(name: string, read: () => Readable, io: Io, signal: AbortSignal): Promise<InputFile> {
  const folder = await mkdtemp(join(tmpdir(), 'batch-infer-'));
  const path = join(folder, 'input.jsonl');
  // A second signal ends the process at once, and disposes of nothing.
  const removeAtExit = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeAtExit);
  const remove = async () => {
    process.off('exit', removeAtExit);
    await rm(folder, { recursive: true, force: true });
  };
  const told = setTimeout(
    () => io.writeError(`reading ${name}${process.stdin.isTTY ? ' (Ctrl-D ends it)' : ''}\n`),
    TELL_AFTER_MS,
  );
  let bytes = 0;
  try {
    const counted = async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        clearTimeout(told);
        bytes += chunk.length;
        if (bytes > LIMITS.fileBytes) throw tooLong(name);
        yield chunk;
      }
    };
    await pipeline(read(), counted, createWriteStream(path, { mode: 0o600 }), { signal });
    if (bytes === 0)
      throw usageError(`${name} is empty: nothing came before its end`, 'check the command that writes it');
  } catch (error) {
    await remove();
    if (signal.aborted) throw signal.reason;
    throw isDiskFull(error) ? noRoom(name, bytes) : error;
  } finally {
    clearTimeout(told);
  }
  return { path, name, [Symbol.asyncDispose]: remove };
}

const tooLong = (name: string): CliError =>
  usageError(
    `${name} has more than ${LIMITS.fileBytes} bytes, the most that one file may have`,
    'split it, and submit the parts as jobs of their own',
  );

const isDiskFull = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');

const noRoom = (name: string, bytes: number): CliError =>
  new CliError(
    EXIT.unavailable,
    `No room for a copy of ${name} in ${tmpdir()}: the disk is full after ${bytes} bytes`,
    'free some space, set TMPDIR to a folder with more, or write the input to a file and give that',
  );
