import { Turns } from '../plan/sort-rows.js';
import { KEY_BYTES } from './request-keys.js';

/** Keys of a job's items in input order, 16 bytes each; zeros where there is none. */
export class ItemKeys {
  readonly bytes: Buffer;
  readonly length: number;
  /** Items with a key. */
  #count = 0;

  constructor(length: number) {
    this.length = length;
    this.bytes = Buffer.alloc(length * KEY_BYTES);
  }

  get count(): number {
    return this.#count;
  }

  set(index: number, key: Uint8Array): void {
    this.bytes.set(key, index * KEY_BYTES);
    this.#count += 1;
  }

  has(index: number): boolean {
    return hasKeyAt(this.bytes, index * KEY_BYTES);
  }
}

/** False for the zeros that stand for no key. */
export function hasKeyAt(bytes: Buffer, at: number): boolean {
  return bytes.readBigUInt64LE(at) !== 0n || bytes.readBigUInt64LE(at + 8) !== 0n;
}

/**
 * Finds a job's items by their key: 8 to 16 bytes an item besides the keys themselves, without an object for any of them.
 * Items with the same key are found together.
 */
export class KeyTable {
  readonly #keys: ItemKeys;
  /** Open addressing: index of an item plus one, 0 where free. */
  readonly #slots: Uint32Array;
  /** The next item with the same key, plus one. */
  readonly #next: Uint32Array;

  private constructor(keys: ItemKeys) {
    this.#keys = keys;
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(Math.max(8, keys.count * 1.5))));
    this.#next = new Uint32Array(keys.length);
  }

  static async of(keys: ItemKeys): Promise<KeyTable> {
    const table = new KeyTable(keys);
    const turns = new Turns();
    for (let index = 0; index < keys.length; index += 1) {
      if (keys.has(index)) table.#add(index);
      if ((index & 0xfff) === 0xfff) await turns.after(0x1000);
    }
    return table;
  }

  /** The item that stands for all with this key; -1 without one. */
  find(bytes: Buffer, at: number): number {
    return (this.#slots[this.#slotOf(bytes, at)] ?? 0) - 1;
  }

  /** All items that one stands for, itself among them. */
  *alike(index: number): Generator<number> {
    for (let item = index + 1; item !== 0; item = this.#next[item - 1] ?? 0) yield item - 1;
  }

  #add(index: number): void {
    const slot = this.#slotOf(this.#keys.bytes, index * KEY_BYTES);
    const first = this.#slots[slot] ?? 0;
    if (first === 0) {
      this.#slots[slot] = index + 1;
      return;
    }
    this.#next[index] = this.#next[first - 1] ?? 0;
    this.#next[first - 1] = index + 1;
  }

  /** Where the key is, or would be. */
  #slotOf(bytes: Buffer, at: number): number {
    const mask = this.#slots.length - 1;
    // Keys are hashes: each part of them is spread evenly.
    let slot = bytes.readUInt32LE(at) & mask;
    for (;;) {
      const item = this.#slots[slot] ?? 0;
      if (item === 0 || this.#isKey(item - 1, bytes, at)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isKey(index: number, bytes: Buffer, at: number): boolean {
    const own = this.#keys.bytes;
    const ownAt = index * KEY_BYTES;
    for (let offset = 0; offset < KEY_BYTES; offset += 4) {
      if (own.readUInt32LE(ownAt + offset) !== bytes.readUInt32LE(at + offset)) return false;
    }
    return true;
  }
}
