const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** Where a JSON text breaks: `offset` counts bytes from its start. The text itself is never quoted. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError';
  readonly offset: number;

  constructor(reason: string, offset: number) {
    super(reason);
    this.offset = offset;
  }
}

/** Bytes of JSON that mean something to whoever walks it. */
export const JSON_BYTES = {
  QUOTE,
  BACKSLASH,
  OPEN_BRACE,
  CLOSE_BRACE,
  OPEN_BRACKET,
  CLOSE_BRACKET,
  COMMA,
  COLON,
} as const;

/** 1 for the bytes of white space between tokens. */
const SPACE = new Uint8Array(256);
for (const byte of [0x20, 0x0a, 0x0d, 0x09]) SPACE[byte] = 1;

export const isJsonSpace = (byte: number | undefined): boolean => byte !== undefined && SPACE[byte] === 1;

const endsScalar = (byte: number | undefined): boolean =>
  byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte === COLON || isJsonSpace(byte);

/**
 * Finds the end of one JSON value whose bytes come in pieces, without building it. It counts brackets and knows strings;
 * what stands between them is for a parser to judge.
 */
export class JsonValueScanner {
  #scalar = false;
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** Starts a value; its first byte is then the first that `scan` gets. */
  begin(first: number | undefined): void {
    this.#scalar = first !== QUOTE && first !== OPEN_BRACE && first !== OPEN_BRACKET;
    this.#depth = 0;
    this.#inString = false;
    this.#escaped = false;
  }

  /**
   * The index behind the value's last byte, or -1 when it goes on in the next piece.
   * @throws JsonSyntaxError with the offset in `bytes` for a control character inside a string
   */
  scan(bytes: Uint8Array, from: number): number {
    if (this.#scalar) return scalarEnd(bytes, from);
    for (let at = from; at < bytes.length; ) {
      at = this.#inString ? this.#stringEnd(bytes, at) : this.#stepOver(bytes, at);
      if (at === -1 || (this.#depth === 0 && !this.#inString)) return at;
    }
    return -1;
  }

  /** Behind the closing quote; -1 when the string goes on. */
  #stringEnd(bytes: Uint8Array, from: number): number {
    let escaped = this.#escaped;
    for (let at = from; at < bytes.length; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte < 0x20)
        throw new JsonSyntaxError('a string holds a control character that is not escaped', at);
      if (escaped) escaped = false;
      else if (byte === BACKSLASH) escaped = true;
      else if (byte === QUOTE) {
        this.#inString = false;
        return at + 1;
      }
    }
    this.#escaped = escaped;
    return -1;
  }

  /** Behind the next opening quote, or the bracket that closes the value; -1 when neither comes. */
  #stepOver(bytes: Uint8Array, from: number): number {
    let depth = this.#depth;
    for (let at = from; at < bytes.length; at += 1) {
      const byte = bytes[at];
      if (byte === QUOTE) {
        this.#depth = depth;
        this.#inString = true;
        this.#escaped = false;
        return at + 1;
      }
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        depth -= 1;
        this.#depth = depth;
        if (depth === 0) return at + 1;
      }
    }
    this.#depth = depth;
    return -1;
  }
}

function scalarEnd(bytes: Uint8Array, from: number): number {
  for (let at = from; at < bytes.length; at += 1) if (endsScalar(bytes[at])) return at;
  return -1;
}

/** A member of a JSON object: its key, and where its value stands. */
export interface JsonMember {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

/** Members of one whole object; `null` when it is none, or broken where this looks. */
export function jsonMembers(bytes: Buffer): JsonMember[] | null {
  const scanner = new JsonValueScanner();
  const members: JsonMember[] = [];
  const spaceFrom = (from: number): number => {
    let at = from;
    while (isJsonSpace(bytes[at])) at += 1;
    return at;
  };
  const valueEnd = (start: number): number => {
    scanner.begin(bytes[start]);
    return scanner.scan(bytes, start);
  };
  let at = spaceFrom(0);
  if (bytes[at] !== OPEN_BRACE) return null;
  at = spaceFrom(at + 1);
  if (bytes[at] === CLOSE_BRACE) return members;
  while (bytes[at] === QUOTE) {
    const keyEnd = valueEnd(at);
    const key = keyEnd === -1 ? null : keyOf(bytes.subarray(at, keyEnd));
    const colon = spaceFrom(keyEnd);
    if (key === null || bytes[colon] !== COLON) return null;
    const start = spaceFrom(colon + 1);
    const end = valueEnd(start);
    if (end <= start) return null;
    members.push({ key, start, end });
    at = spaceFrom(end);
    if (bytes[at] === CLOSE_BRACE) return members;
    if (bytes[at] !== COMMA) return null;
    at = spaceFrom(at + 1);
  }
  return null;
}

/** The key in its quotes, as text; `null` when it is broken. */
export function keyOf(quoted: Buffer): string | null {
  try {
    return JSON.parse(quoted.toString('utf8')) as string;
  } catch {
    return null;
  }
}
