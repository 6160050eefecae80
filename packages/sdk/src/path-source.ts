import type { InputSource } from './sources.js';

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
  const stream = globalThis.process?.getBuiltinModule?.('stream');
  const crypto = globalThis.process?.getBuiltinModule?.('crypto');
  if (fs === undefined || stream === undefined || crypto === undefined) {
    throw new TypeError('A path can only be submitted where there is a file system; pass a Blob or a stream');
  }
  const open = () => fs.createReadStream(path, { highWaterMark: 256 * 1024 });
  return {
    name: String(path),
    repeatable: true,
    async open() {
      // Opened first, so that a missing file is an error here and not a broken upload.
      const handle = await fs.promises.open(path, 'r');
      const readable = handle.createReadStream({ highWaterMark: 256 * 1024 });
      return stream.Readable.toWeb(readable) as ReadableStream<Uint8Array>;
    },
    async sha256() {
      const hash = crypto.createHash('sha256');
      for await (const chunk of open()) hash.update(chunk);
      return hash.digest('hex');
    },
  };
}
