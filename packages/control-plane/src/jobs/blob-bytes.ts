import type { Blobs } from '../ports/blobs.js';

/** A small object, or a range of one, whole. */
export async function readBytes(
  blobs: Blobs,
  params: { key: string; offset?: number; length?: number },
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of await blobs.get(params)) chunks.push(chunk as Buffer);
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}
