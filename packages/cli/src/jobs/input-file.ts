import { createWriteStream } from 'node:fs';
import { access, constants, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { usageError } from '../cli-error.js';
import type { Io } from '../io.js';

/** The input as a file that can be read several times: hashed, checked, sent, sent again. */
export interface InputFile extends AsyncDisposable {
  readonly path: string;
  /** As the user named it. */
  readonly name: string;
}

/**
 * Finds the input file; `-` is standard input, which is kept in a temporary file as long as it is needed.
 *
 * @throws CliError (usage) when it cannot be read.
 */
export async function openInput(name: string, io: Io, signal: AbortSignal): Promise<InputFile> {
  if (name === '-') return await spoolStandardInput(signal);
  const path = resolve(io.workingDirectory, name);
  const found = await stat(path).catch(() => null);
  if (found === null) throw usageError(`There is no file ${name}`);
  if (found.isDirectory()) throw usageError(`${name} is a folder; give a JSONL file`);
  await access(path, constants.R_OK).catch((error: unknown) => {
    throw usageError(`${name} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  return { path, name, [Symbol.asyncDispose]: async () => undefined };
}

async function spoolStandardInput(signal: AbortSignal): Promise<InputFile> {
  const folder = await mkdtemp(join(tmpdir(), 'batch-infer-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  const path = join(folder, 'stdin.jsonl');
  try {
    await pipeline(process.stdin, createWriteStream(path), { signal });
  } catch (error) {
    await remove();
    throw signal.aborted ? signal.reason : error;
  }
  return { path, name: 'standard input', [Symbol.asyncDispose]: remove };
}
