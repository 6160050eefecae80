import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { usageError } from '../cli-error.js';

/** The project files that their user trusts: real path of the file, and the SHA-256 of its content in hex. */
export type TrustedFiles = Readonly<Record<string, string>>;

export const contentHash = (content: string): string => createHash('sha256').update(content).digest('hex');

/** @throws CliError (usage) when the list is there but cannot be read. */
export function readTrustedFiles(path: string): TrustedFiles {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return {};
  }
  try {
    const list: { files: unknown } = JSON.parse(text);
    return Object.fromEntries(Object.entries(Object(list.files)).map(([file, hash]) => [file, String(hash)]));
  } catch {
    throw usageError(`${path} is not a list of trusted files`, 'delete it, then run batch-infer trust again');
  }
}

/** Replaces the list as a whole. Nobody but the user can read or write it. */
export async function writeTrustedFiles(path: string, files: TrustedFiles): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomUUID()}`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(`${JSON.stringify({ files }, null, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
  await chmod(path, 0o600);
}
