import { createHash, randomInt } from 'node:crypto';
import { newId } from '@batch-infer/contracts';

/**
 * A key is `bi_<public id>_<secret>`: the public id finds its row, the secret (33 base62 digits, 196 bits) proves it.
 * The prefix lets secret scanners know it.
 */
export interface NewApiKey {
  /** `key_<public id>`. */
  readonly id: string;
  /** Shown once, to whom it is made for. */
  readonly key: string;
  /** SHA-256 (hex) of the secret. With so many random bits a slow hash would protect nothing more. */
  readonly hash: string;
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SECRET_DIGITS = 33;
const KEY_ID_PREFIX = 'key_';
const KEY_PATTERN = /^bi_([0-9a-f]{32})_([0-9A-Za-z]{33})$/;

export function newApiKey(nowMs: number): NewApiKey {
  const id = newId('key', nowMs);
  const secret = Array.from({ length: SECRET_DIGITS }, () => BASE62[randomInt(BASE62.length)]).join('');
  return { id, key: `bi_${id.slice(KEY_ID_PREFIX.length)}_${secret}`, hash: hashOf(secret).toString('hex') };
}

/** The parts of what a client presented; `null` when it has not the form of a key. */
export function parseApiKey(presented: string): { id: string; secret: string } | null {
  const [, publicId, secret] = KEY_PATTERN.exec(presented) ?? [];
  return publicId === undefined || secret === undefined
    ? null
    : { id: `${KEY_ID_PREFIX}${publicId}`, secret };
}

export const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();
