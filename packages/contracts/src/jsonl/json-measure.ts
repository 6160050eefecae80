/** How much one JSON text may hold: what is larger would keep a process busy for its sake alone. */
export interface JsonBounds {
  /** Objects and arrays inside each other. */
  readonly depth: number;
  /** Values of any kind. */
  readonly values: number;
  /** Members of objects. */
  readonly members: number;
}

export type JsonExcess = 'depth' | 'values' | 'members';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Holds JSON to its bounds while its bytes come in, before anything is built of them: a hostile text of millions of
 * brackets would cost hundreds of megabytes as objects, and seconds. What is no JSON is left to the parser.
 */
export class JsonMeter {
  readonly #bounds: JsonBounds;
  #depth = 0;
  #values = 1;
  #members = 0;
  #inString = false;
  #escaped = false;

  constructor(bounds: JsonBounds) {
    this.#bounds = bounds;
  }

  /** Takes the next bytes, cut anywhere; the first bound that the text has gone beyond, or `null`. */
  push(bytes: Uint8Array): JsonExcess | null {
    const { depth: maxDepth, values: maxValues, members: maxMembers } = this.#bounds;
    let inString = this.#inString;
    let escaped = this.#escaped;
    for (let at = 0; at < bytes.length; at += 1) {
      const byte = bytes[at];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      switch (byte) {
        case QUOTE:
          inString = true;
          break;
        case 0x7b:
        case 0x5b:
          this.#depth += 1;
          this.#values += 1;
          if (this.#depth > maxDepth) return 'depth';
          break;
        case 0x7d:
        case 0x5d:
          this.#depth -= 1;
          break;
        case 0x2c:
          this.#values += 1;
          if (this.#values > maxValues) return 'values';
          break;
        case 0x3a:
          this.#members += 1;
          if (this.#members > maxMembers) return 'members';
          break;
      }
    }
    this.#inString = inString;
    this.#escaped = escaped;
    return this.#values > maxValues ? 'values' : null;
  }
}
