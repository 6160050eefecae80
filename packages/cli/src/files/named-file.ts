import type { BigIntStats } from 'node:fs';
import { fstatSync } from 'node:fs';
import { lstat, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { usageError } from '../cli-error.js';

/** What a name on the command line stands for, links followed. */
export type NamedFile =
  /** `/dev/stdout`, `/dev/fd/63`, `/proc/self/fd/1`: open already, whatever it is. */
  | { readonly kind: 'descriptor'; readonly descriptor: number; readonly stats: BigIntStats }
  | { readonly kind: 'plain'; readonly path: string; readonly stats: BigIntStats }
  /** A named pipe or a character device: bytes pass through it, nothing stays. */
  | { readonly kind: 'stream'; readonly path: string; readonly stats: BigIntStats }
  | { readonly kind: 'folder' }
  /** Nothing yet: here it would be made. */
  | { readonly kind: 'absent'; readonly path: string }
  | { readonly kind: 'unusable'; readonly what: string };

/** As many links as Linux follows. */
const MAX_LINKS = 40;

/**
 * Finds out what a name stands for. Links are followed one by one, because a link to a descriptor of this process must
 * not be opened anew by its path: that would cut what its owner has written.
 *
 * @throws CliError (usage) for links that lead in a circle; the file system's error else.
 */
export async function findFile(name: string, workingDirectory: string): Promise<NamedFile> {
  let path = resolve(workingDirectory, name);
  for (let links = 0; links < MAX_LINKS; links += 1) {
    const folder = await realpath(dirname(path)).catch(() => dirname(path));
    path = join(folder, basename(path));
    const descriptor = descriptorOf(folder, basename(path));
    if (descriptor !== null) return openDescriptor(descriptor, name);
    const found = await lstat(path, { bigint: true }).catch(nullIfAbsent);
    if (found === null) return { kind: 'absent', path };
    // A descriptor of another process is a link that only the system can follow.
    if (!found.isSymbolicLink() || /^\/proc\/\d+\//.test(path)) {
      return classify(path, await stat(path, { bigint: true }));
    }
    path = resolve(folder, await readlink(path));
  }
  throw usageError(`${name} leads through too many links: they go in a circle`);
}

function classify(path: string, stats: BigIntStats): NamedFile {
  if (stats.isFile()) return { kind: 'plain', path, stats };
  if (stats.isDirectory()) return { kind: 'folder' };
  if (stats.isFIFO() || stats.isCharacterDevice()) return { kind: 'stream', path, stats };
  return { kind: 'unusable', what: stats.isSocket() ? 'a socket' : 'a disk' };
}

const isAbsent = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');

function nullIfAbsent(error: unknown): null {
  if (isAbsent(error)) return null;
  throw error;
}

/** The number of a descriptor of this process, from where Linux (`/proc/PID/fd`) and others (`/dev/fd`) show them. */
function descriptorOf(folder: string, name: string): number | null {
  if (!/^\d{1,9}$/.test(name)) return null;
  const own = new RegExp(`^/proc/${process.pid}(?:/task/\\d+)?/fd$`);
  return folder === '/dev/fd' || own.test(folder) ? Number(name) : null;
}

/** @throws CliError (usage) when it is not open. */
export function openDescriptor(descriptor: number, name: string): NamedFile {
  try {
    return { kind: 'descriptor', descriptor, stats: fstatSync(descriptor, { bigint: true }) };
  } catch {
    throw usageError(`${name} is not open: the shell gave this command no descriptor ${descriptor}`);
  }
}

/** Which file something is, however it is spelled. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

/** `null` for what keeps nothing, such as a terminal: to read and write it is no conflict. */
export const identityOf = (stats: BigIntStats): FileIdentity | null =>
  stats.isFile() || stats.isFIFO() ? { device: stats.dev, inode: stats.ino } : null;

export const isSameFile = (left: FileIdentity | null, right: FileIdentity | null): boolean =>
  left !== null && right !== null && left.device === right.device && left.inode === right.inode;
