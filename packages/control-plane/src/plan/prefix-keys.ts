import { PREFIX_LEVELS } from './item-table.js';

/** Prompt bytes between two levels, at least: about 256 tokens. Items that share less are no group. */
export const LEVEL_BYTES = 1_024;
/** Of a longer text only so much is looked at; its length counts too. */
const TEXT_BYTES = 64 * 1_024;

/**
 * Keys of a prompt's beginnings: a chain of hashes over its text, taken at the boundaries between messages and inside
 * the first text of the user after 1, 2, 4, 8 … KiB, where at least 1 KiB lies between two of them. Where a key is
 * taken depends on nothing but the text before it, so that equal beginnings have equal keys.
 *
 * 32 bits, seeded: a false match costs nothing but a place in the order.
 */
export class PrefixKeys {
  readonly #seed: number;
  #keys: Uint32Array = new Uint32Array(PREFIX_LEVELS);
  #hash = 0;
  #depth = 0;
  #keptDepth = 0;
  #level = 0;
  #firstDepth = 0;

  /** @param salt the project: keys of different tenants have nothing to do with each other. */
  constructor(salt: string) {
    this.#seed = hashBytes(0x9747b28c, Buffer.from(salt), 0, Buffer.byteLength(salt));
  }

  /** Begins a prompt, whose keys are written to `keys` (all 0). */
  begin(keys: Uint32Array): void {
    this.#keys = keys;
    this.#hash = this.#seed;
    this.#depth = 0;
    this.#keptDepth = 0;
    this.#level = 0;
    this.#firstDepth = 0;
  }

  /** True when there is no level left: the rest of the prompt changes nothing. */
  get isFull(): boolean {
    return this.#level >= PREFIX_LEVELS;
  }

  /** Bytes behind the first key, 0 without one. */
  get firstDepth(): number {
    return this.#firstDepth;
  }

  /** A piece of prompt with a boundary behind it. */
  addPiece(bytes: Buffer, from: number, to: number): void {
    this.#absorb(bytes, from, to);
    this.#boundary();
  }

  /** The user's first text: boundaries after 1, 2, 4, 8 … KiB of it, and behind it. */
  addText(bytes: Buffer, from: number, to: number): void {
    let at = from;
    for (let step = LEVEL_BYTES; at + step <= to && !this.isFull; step = at - from) {
      this.#absorb(bytes, at, at + step);
      this.#boundary();
      at += step;
    }
    this.addPiece(bytes, at, to);
  }

  /** Behind the last level, or in its place: a key of the whole request. */
  seal(bytes: Buffer, from: number, to: number): void {
    const level = Math.min(this.#level, PREFIX_LEVELS - 1);
    this.#keys[level] = hashBytes(this.#seed, bytes, from, to) >>> 0 || 1;
  }

  #absorb(bytes: Buffer, from: number, to: number): void {
    if (this.isFull || to <= from) return;
    this.#hash = hashBytes(this.#hash, bytes, from, Math.min(to, from + TEXT_BYTES)) ^ (to - from);
    this.#depth += to - from;
  }

  #boundary(): void {
    if (this.isFull || this.#depth - this.#keptDepth < LEVEL_BYTES) return;
    // 0 means "no key".
    this.#keys[this.#level] = this.#hash >>> 0 || 1;
    if (this.#level === 0) this.#firstDepth = this.#depth;
    this.#level += 1;
    this.#keptDepth = this.#depth;
  }
}

/** Murmur3's mixing, four bytes at a time. */
function hashBytes(seed: number, bytes: Buffer, from: number, to: number): number {
  let hash = seed;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    const word =
      (bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24);
    hash = mixWord(hash, word);
  }
  for (; at < to; at += 1) hash = mixWord(hash, (bytes[at] ?? 0) + 0x100);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function mixWord(hash: number, word: number): number {
  const once = Math.imul(word, 0xcc9e2d51);
  const mixed = hash ^ Math.imul((once << 15) | (once >>> 17), 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}
