import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { InputReadError } from './errors.js';
import type { InputSource } from './sources.js';

const CHUNK_BYTES = 64 * 1024;

/**
 * A file of the local file system as the input of a job: read as a stream, hashed without being held in memory, and
 * opened again for every attempt. What can be read only once (a pipe, a device) is sent once and not hashed.
 *
 * A file that changes between or during its readings is refused: what was hashed would not be what is sent.
 *
 * Node's modules are asked for by name at call time (Node, Bun and Deno answer), so that no bundler sees an import.
 *
 * @throws TypeError where there is no file system.
 */
export function openFile(path: string | URL): InputSource {
  const fs = globalThis.process?.getBuiltinModule?.('fs');
  const crypto = globalThis.process?.getBuiltinModule?.('crypto');
  if (fs === undefined || crypto === undefined) {
    throw new TypeError('A path can only be submitted where there is a file system; pass a Blob or a stream');
  }
  const name = String(path);
  if (fs.statSync(path, { throwIfNoEntry: false })?.isFile() === false) {
    return { name, repeatable: false, open: async () => streamFile(await fs.promises.open(path, 'r'), null) };
  }
  const version = new FileVersion(name);
  // Opened first, so that a missing file is an error here and not a broken upload.
  const open = async () => streamFile(await fs.promises.open(path, 'r'), version);
  return {
    name,
    repeatable: true,
    open,
    async sha256() {
      const hash = crypto.createHash('sha256');
      for await (const chunk of await open()) hash.update(chunk);
      return hash.digest('hex');
    },
  };
}

/** Which state of a file was read first: later readings must find the same. */
class FileVersion {
  readonly #name: string;
  #first: string | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** @throws InputReadError when the file is not the one that was read before. */
  async check(handle: FileHandle): Promise<void> {
    const seen = describe(await handle.stat({ bigint: true }));
    this.#first ??= seen;
    if (seen === this.#first) return;
    await handle.close();
    throw new InputReadError(
      `${this.#name} changed while it was being read: submit it when nothing writes to it any more, or submit a copy`,
    );
  }
}

const describe = ({ dev, ino, size, mtimeNs }: BigIntStats): string => [dev, ino, size, mtimeNs].join();

/** Reads only what is asked for: Node's own conversion of its streams reads ahead without a limit in bytes. */
function streamFile(handle: FileHandle, version: FileVersion | null): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async start() {
        await version?.check(handle);
      },
      async pull(controller) {
        const { bytesRead, buffer } = await handle.read(new Uint8Array(CHUNK_BYTES));
        if (bytesRead > 0) {
          controller.enqueue(buffer.subarray(0, bytesRead));
          return;
        }
        await version?.check(handle);
        await handle.close();
        controller.close();
      },
      cancel: () => handle.close(),
    },
    { highWaterMark: 0 },
  );
}
