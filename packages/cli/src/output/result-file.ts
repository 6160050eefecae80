import {
  constants,
  type FileHandle,
  open,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { usageError } from '../cli-error.js';
import type { Io } from '../io.js';

const FLUSH_BYTES = 256 * 1024;

/** Which job and format a part belongs to, so that another run never appends to it. */
interface PartOwner {
  readonly job_id: string;
  readonly format: string;
}

/**
 * The file that results go to. Lines are collected in `FILE.part`; when all are there it is synced and takes the
 * file's name, so that the name never stands for half a result. An interrupted part of the same job is gone on with
 * (`FILE.part.json` says whose it is).
 */
export class ResultFile implements AsyncDisposable {
  readonly path: string;
  readonly name: string;
  readonly #partPath: string;
  readonly #ownerPath: string;
  #handle: FileHandle | undefined;
  #pending: string[] = [];
  #pendingChars = 0;

  private constructor(path: string, name: string) {
    this.path = path;
    this.name = name;
    this.#partPath = `${path}.part`;
    this.#ownerPath = `${path}.part.json`;
  }

  /**
   * Finds out before anything is submitted whether the file can be written.
   *
   * @throws CliError (usage) when it cannot.
   */
  static async prepare(name: string, io: Io): Promise<ResultFile> {
    const path = resolve(io.workingDirectory, name);
    const file = new ResultFile(path, name);
    const target = await stat(path).catch(() => null);
    if (target?.isDirectory())
      throw usageError(
        `Cannot write ${name}: it is a folder`,
        `give a file, such as -o ${name}/results.jsonl`,
      );
    const hadPart = (await stat(file.#partPath).catch(() => null)) !== null;
    try {
      if (target !== null) await (await open(path, constants.O_WRONLY)).close();
      await (await open(file.#partPath, 'a')).close();
    } catch (error) {
      throw usageError(
        `Cannot write ${name}: ${reasonOf(error, path)}`,
        'choose another file with -o, or mend its folder',
      );
    }
    if (!hadPart) await rm(file.#partPath, { force: true });
    return file;
  }

  /** Opens the part of this job. Resolves to how many lines it has already. */
  async begin(jobId: string, format: string): Promise<number> {
    const owner: PartOwner = { job_id: jobId, format };
    const resumed = (await readFile(this.#ownerPath, 'utf8').catch(() => '')) === JSON.stringify(owner);
    const lines = resumed ? await keepWholeLines(this.#partPath) : 0;
    if (!resumed) {
      await rm(this.#partPath, { force: true });
      await writeFile(this.#ownerPath, JSON.stringify(owner));
    }
    this.#handle = await open(this.#partPath, 'a');
    return lines;
  }

  async writeLine(line: string): Promise<void> {
    this.#pending.push(line, '\n');
    this.#pendingChars += line.length + 1;
    if (this.#pendingChars >= FLUSH_BYTES) await this.#flush();
  }

  /** All lines are there: makes them durable and gives them their name. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#handle?.sync();
    await this.#close();
    await rename(this.#partPath, this.path);
    await rm(this.#ownerPath, { force: true });
    const folder = await open(dirname(this.path), 'r').catch(() => null);
    await folder?.sync().catch(() => undefined);
    await folder?.close();
  }

  /** Keeps what was collected, to go on with later. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#handle === undefined) return;
    await this.#flush().catch(() => undefined);
    await this.#close();
  }

  async #flush(): Promise<void> {
    const text = this.#pending.join('');
    this.#pending = [];
    this.#pendingChars = 0;
    if (text !== '') await this.#handle?.appendFile(text);
  }

  async #close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }
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

function reasonOf(error: unknown, path: string): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return `there is no folder ${dirname(path)}`;
  if (code === 'EACCES' || code === 'EPERM')
    return `no permission to write ${basename(path)} in ${dirname(path)}`;
  if (code === 'EROFS') return 'the file system is read-only';
  if (code === 'ENOTDIR') return `${dirname(path)} is not a folder`;
  return error instanceof Error ? error.message : String(error);
}
