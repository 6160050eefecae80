/** How much one JSON text may hold: what is larger would keep a process busy for its sake alone. */
export interface JsonBounds {
  /** Objects and arrays inside each other. */
  readonly depth: number;
  /** Values of any kind. */
  readonly values: number;
  /** Members of all objects. */
  readonly members: number;
  /** Members of one object: of many different ones a parser makes a dictionary, at ten times the cost. */
  readonly objectMembers: number;
}

export type JsonExcess = 'depth' | 'values' | 'members' | 'objectMembers';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const CLOSE_BRACE = 0x7d;
const CLOSE_BRACKET = 0x5d;

/** 1 for the bytes that make the structure of a text. */
const STRUCTURE = new Uint8Array(256);
for (const byte of [COLON, COMMA, CLOSE_BRACE, CLOSE_BRACKET, 0x7b, 0x5b]) STRUCTURE[byte] = 1;

/**
 * Holds JSON to its bounds while its bytes come in, before anything is built of them: a hostile text of millions of
 * brackets would cost hundreds of megabytes as objects, and seconds. What is no JSON is left to the parser.
 */
export class JsonMeter {
  readonly #bounds: JsonBounds;
  #depth = 0;
  #values = 1;
  #members = 0;
  /** Members so far of the objects that are open, by their depth. */
  readonly #open: number[] = [0];
  #inString = false;
  #escaped = false;

  constructor(bounds: JsonBounds) {
    this.#bounds = bounds;
  }

  /** Members so far of all objects, also of those that stand twice in one. */
  get members(): number {
    return this.#members;
  }

  /** Takes the next bytes, cut anywhere; the first bound that the text has gone beyond, or `null`. */
  push(bytes: Uint8Array): JsonExcess | null {
    let inString = this.#inString;
    let escaped = this.#escaped;
    for (let at = 0; at < bytes.length; at += 1) {
      const byte = bytes[at] ?? 0;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) inString = true;
      else if (STRUCTURE[byte] === 1) {
        const excess = this.#step(byte);
        if (excess !== null) return excess;
      }
    }
    this.#inString = inString;
    this.#escaped = escaped;
    return this.#values > this.#bounds.values ? 'values' : null;
  }

  /** One byte of the structure. */
  #step(byte: number): JsonExcess | null {
    const bounds = this.#bounds;
    switch (byte) {
      case COLON:
        this.#members += 1;
        if (this.#members > bounds.members) return 'members';
        return this.#addMember() > bounds.objectMembers ? 'objectMembers' : null;
      case COMMA:
        this.#values += 1;
        return this.#values > bounds.values ? 'values' : null;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        this.#depth -= 1;
        return null;
      default:
        this.#depth += 1;
        this.#values += 1;
        this.#open[this.#depth] = 0;
        return this.#depth > bounds.depth ? 'depth' : null;
    }
  }

  #addMember(): number {
    const count = (this.#open[this.#depth] ?? 0) + 1;
    this.#open[this.#depth] = count;
    return count;
  }
}
