import { type BigIntStats, constants, createReadStream } from 'node:fs';
import {
  chmod,
  type FileHandle,
  lstat,
  open,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { usageError } from '../cli-error.js';
import { LineBuffer, type ResultOutput, type ResultOwner } from './result-output.js';

/**
 * The file that results go to. Lines are collected in `FILE.part`; when all are there it is synced and takes the
 * file's name, so that the name never stands for half a result. An interrupted part of the same job is gone on with
 * (`FILE.part.json` says whose it is).
 */
export class ResultFile implements ResultOutput {
  readonly name: string;
  readonly isStandardOutput = false;
  /** The file itself, where `name` is a link. */
  readonly path: string;
  readonly #paths: PartPaths;
  readonly #existing: BigIntStats | null;
  readonly #lines = new LineBuffer(async (text) => this.#handle?.appendFile(text), { prompt: false });
  #handle: FileHandle | undefined;

  private constructor(name: string, path: string, existing: BigIntStats | null) {
    this.name = name;
    this.path = path;
    this.#existing = existing;
    this.#paths = partPathsOf(path);
  }

  /**
   * Finds out before anything is submitted whether the file can be written. `path` leads through no link; `existing` is
   * what stands there.
   *
   * @throws CliError (usage) when it cannot.
   */
  static async prepare(name: string, path: string, existing: BigIntStats | null): Promise<ResultFile> {
    const { part } = partPathsOf(path);
    const hadPart = (await stat(part).catch(() => null)) !== null;
    try {
      if (existing !== null) await (await open(path, constants.O_WRONLY)).close();
      await (await open(part, 'a', FILE_MODE)).close();
    } catch (error) {
      throw usageError(
        `Cannot write ${name}: ${reasonOf(error, path)}`,
        'choose another file with -o, or mend its folder',
      );
    }
    if (!hadPart) await rm(part, { force: true });
    return new ResultFile(name, path, existing);
  }

  async begin(owner: ResultOwner): Promise<number> {
    const { part, ownerOfPart } = this.#paths;
    const resumed = (await readFile(ownerOfPart, 'utf8').catch(() => '')) === JSON.stringify(owner);
    const lines = resumed ? await keepWholeLines(part) : 0;
    if (!resumed) {
      await rm(part, { force: true });
      await writeFile(ownerOfPart, JSON.stringify(owner), { mode: FILE_MODE });
    }
    this.#handle = await open(part, 'a', FILE_MODE);
    // It takes the place of a file whose mode somebody has chosen.
    await chmod(part, this.#existing === null ? FILE_MODE : Number(this.#existing.mode & 0o777n));
    return lines;
  }

  async writeLine(line: string): Promise<void> {
    await this.#lines.add(line);
  }

  /** Makes the lines durable and gives them their name. */
  async finish(): Promise<void> {
    const { part, ownerOfPart } = this.#paths;
    await this.#lines.flush();
    await this.#handle?.sync();
    await this.#close();
    if (!(await this.#takeName())) await copyInto(part, this.path);
    await rm(ownerOfPart, { force: true });
    const folder = await open(dirname(this.path), 'r').catch(() => null);
    await folder?.sync().catch(() => undefined);
    await folder?.close();
  }

  /** Keeps what was collected, to go on with later. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#handle === undefined) return;
    await this.#lines.flush().catch(() => undefined);
    await this.#close();
  }

  /**
   * Renames the part. False where the file must stay the one it is: it has other names (hard links), another owner, is
   * mounted by itself (a file given to a container), or has become something else than a plain file meanwhile.
   */
  async #takeName(): Promise<boolean> {
    const there = await lstat(this.path).catch(() => null);
    if (
      there !== null &&
      (!there.isFile() || there.nlink > 1 || there.uid !== (process.getuid?.() ?? there.uid))
    )
      return false;
    try {
      await rename(this.#paths.part, this.path);
      return true;
    } catch (error) {
      if (isOneOf(error, ['EBUSY', 'EXDEV'])) return false;
      throw error;
    }
  }

  async #close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }
}

/** Answers are the user's: others read them when the user lets them. */
const FILE_MODE = 0o600;

interface PartPaths {
  readonly part: string;
  readonly ownerOfPart: string;
}

/** What a file of results is made through. */
export const partPathsOf = (path: string): PartPaths => ({
  part: `${path}.part`,
  ownerOfPart: `${path}.part.json`,
});

/** Writes over what stands at `path`. The part goes only when all of it is there. */
async function copyInto(part: string, path: string): Promise<void> {
  const target = await open(path, constants.O_WRONLY | constants.O_TRUNC);
  await target.writeFile(createReadStream(part));
  await target.sync().catch((error: unknown) => {
    // Nothing is kept where nothing can be synced.
    if (!isOneOf(error, ['EINVAL'])) throw error;
  });
  await target.close();
  await rm(part, { force: true });
}

/** Cuts a half-written last line off; resolves to the number of lines left. */
async function keepWholeLines(path: string): Promise<number> {
  const handle = await open(path, 'r').catch(() => null);
  if (handle === null) return 0;
  let lines = 0;
  let bytes = 0;
  let end = 0;
  for await (const chunk of handle.createReadStream({ highWaterMark: 1024 * 1024 })) {
    const buffer: Buffer = chunk;
    for (let at = buffer.indexOf(10); at !== -1; at = buffer.indexOf(10, at + 1)) {
      lines += 1;
      end = bytes + at + 1;
    }
    bytes += buffer.length;
  }
  if (end < bytes) await truncate(path, end);
  return lines;
}

const isOneOf = (error: unknown, codes: readonly string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

function reasonOf(error: unknown, path: string): string {
  if (isOneOf(error, ['ENOENT'])) return `there is no folder ${dirname(path)}`;
  if (isOneOf(error, ['EACCES', 'EPERM']))
    return `no permission to write ${basename(path)} in ${dirname(path)}`;
  if (isOneOf(error, ['EROFS'])) return 'the file system is read-only';
  if (isOneOf(error, ['ENOTDIR'])) return `${dirname(path)} is not a folder`;
  return error instanceof Error ? error.message : String(error);
}
