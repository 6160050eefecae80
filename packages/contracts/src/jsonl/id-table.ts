/**
 * Remembers which line used a `custom_id` first, without keeping any string: an open-addressing table of 96-bit seeded
 * hashes in one typed array (16 bytes a slot, at most 3/4 full). A million ids take 32 MB. With a random seed, five
 * million distinct ids give a false hit with a probability of about 1e-16.
 */
export class IdTable {
  #slots = new Uint32Array(INITIAL_CAPACITY * SLOT_WORDS);
  #capacity = INITIAL_CAPACITY;
  #size = 0;
  readonly #seeds: Uint32Array;

  constructor(seeds: Uint32Array = randomSeeds()) {
    this.#seeds = seeds;
  }

  /** Line that used this id first, or 0 when it is new; then it is remembered with `line` (1-based). */
  add(id: string, line: number): number {
    let first = this.#seeds[0] ?? 0;
    let second = this.#seeds[1] ?? 0;
    let third = this.#seeds[2] ?? 0;
    for (let index = 0; index < id.length; index += 1) {
      const unit = id.charCodeAt(index);
      first = Math.imul(first ^ unit, 0x9e3779b1);
      first ^= first >>> 15;
      second = Math.imul(second ^ unit, 0x85ebca6b);
      second ^= second >>> 13;
      third = Math.imul(third + unit, 0xc2b2ae35) ^ (third >>> 16);
    }
    first = Math.imul(first ^ (second >>> 16) ^ id.length, 0x27d4eb2f) >>> 0;
    second = Math.imul(second ^ (third >>> 15), 0x165667b1) >>> 0;
    third = Math.imul(third ^ (first >>> 14), 0x2c1b3c6d) >>> 0;
    if ((this.#size + 1) * 4 > this.#capacity * 3) this.#grow();
    return this.#insert(first, second, third, line);
  }

  #insert(first: number, second: number, third: number, line: number): number {
    const slots = this.#slots;
    const last = this.#capacity - 1;
    let slot = (first ^ third) & last;
    for (;;) {
      const at = slot * SLOT_WORDS;
      const held = slots[at + 3] ?? 0;
      if (held === 0) {
        slots[at] = first;
        slots[at + 1] = second;
        slots[at + 2] = third;
        slots[at + 3] = line;
        this.#size += 1;
        return 0;
      }
      if (slots[at] === first && slots[at + 1] === second && slots[at + 2] === third) return held;
      slot = (slot + 1) & last;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#capacity *= 2;
    this.#size = 0;
    this.#slots = new Uint32Array(this.#capacity * SLOT_WORDS);
    for (let at = 0; at < old.length; at += SLOT_WORDS) {
      const line = old[at + 3] ?? 0;
      if (line !== 0) this.#insert(old[at] ?? 0, old[at + 1] ?? 0, old[at + 2] ?? 0, line);
    }
  }
}

const INITIAL_CAPACITY = 1_024;
const SLOT_WORDS = 4;

/** Random, so that nobody can prepare a file whose ids all fall into one slot. */
function randomSeeds(): Uint32Array {
  return globalThis.crypto.getRandomValues(new Uint32Array(3));
}
