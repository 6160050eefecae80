import { toWireOptions } from './mapping.js';
import type { InputSource } from './sources.js';
import type { JobOptions } from './types.js';

/**
 * An idempotency key made of what a job does: the same content with the same options gives the same job, in every
 * process. `undefined` for sources that cannot be hashed without being held in memory.
 */
export async function contentKey(source: InputSource, options: JobOptions): Promise<string | undefined> {
  if (source.sha256 === undefined) return undefined;
  const text = `${await source.sha256()}\n${canonicalJson(toWireOptions(options))}`;
  const digest = await globalThis.crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return `content-${Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** JSON with the keys of every object in order. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([left], [right]) => (left < right ? -1 : 1)))
      : part,
  );
}
