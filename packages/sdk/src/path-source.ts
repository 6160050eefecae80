import type { FileHandle } from 'node:fs/promises';
import type { InputSource } from './sources.js';

const CHUNK_BYTES = 64 * 1024;

/**
 * A file of the local file system as the input of a job: read as a stream, hashed without being held in memory, and
 * opened again for every attempt.
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
  return {
    name: String(path),
    repeatable: true,
    // Opened first, so that a missing file is an error here and not a broken upload.
    open: async () => streamFile(await fs.promises.open(path, 'r')),
    async sha256() {
      const hash = crypto.createHash('sha256');
      for await (const chunk of streamFile(await fs.promises.open(path, 'r'))) hash.update(chunk);
      return hash.digest('hex');
    },
  };
}

/** Reads only what is asked for: Node's own conversion of its streams reads ahead without a limit in bytes. */
function streamFile(handle: FileHandle): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { bytesRead, buffer } = await handle.read(new Uint8Array(CHUNK_BYTES));
        if (bytesRead > 0) {
          controller.enqueue(buffer.subarray(0, bytesRead));
          return;
        }
        await handle.close();
        controller.close();
      },
      cancel: () => handle.close(),
    },
    { highWaterMark: 0 },
  );
}
