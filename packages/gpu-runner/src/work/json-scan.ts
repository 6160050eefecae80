/**
 * A byte scanner over one JSON object: finds its members without building values, so that a request body travels from
 * the file to the engine as the bytes that the client wrote. It trusts that the text is valid JSON (the control plane
 * has checked it) and answers -1 for whatever it does not understand; callers then parse the slow way.
 */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
/** Strings longer than this are searched by `indexOf`, which is faster once its call is paid for. */
const SHORT_STRING_BYTES = 48;

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** A member of an object, as byte offsets: the key without its quotes, the value without white space around it. */
export interface Member {
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly valueStart: number;
  readonly valueEnd: number;
  /** Members of the value; `null` when it is no object, or nobody asked. */
  readonly members: readonly Member[] | null;
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  while (isSpace(bytes[at])) at += 1;
  return at;
}

/** Offset after the closing quote of the string whose opening quote is at `start`. */
function skipString(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  const shortEnd = Math.min(bytes.length, at + SHORT_STRING_BYTES);
  while (at < shortEnd) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    at += byte === BACKSLASH ? 2 : 1;
  }
  // A quote ends the string when an even number of backslashes stands before it, back to where scanning had come.
  const floor = at;
  for (let quote = bytes.indexOf(QUOTE, at); quote !== -1; quote = bytes.indexOf(QUOTE, quote + 1)) {
    let slashes = 0;
    while (quote - slashes > floor && bytes[quote - slashes - 1] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return quote + 1;
  }
  return -1;
}

/** Offset after the object or array that opens at `start`. */
function skipNested(bytes: Uint8Array, start: number): number {
  let depth = 0;
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = skipString(bytes, at);
      if (at === -1) return -1;
      continue;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
    at += 1;
  }
  return -1;
}

function skipValue(bytes: Uint8Array, start: number): number {
  const first = bytes[start];
  if (first === QUOTE) return skipString(bytes, start);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return skipNested(bytes, start);
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isSpace(byte)) break;
    at += 1;
  }
  return at === start ? -1 : at;
}

/** True when objects and arrays of a text stand inside each other deeper than this. */
export function isDeeperThan(bytes: Uint8Array, limit: number): boolean {
  let depth = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      const end = skipString(bytes, at);
      if (end === -1) return false;
      at = end - 1;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
      if (depth > limit) return true;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
  }
  return false;
}

/** An object whose members were found. */
export interface ScannedObject {
  readonly members: readonly Member[];
  /** Offset after its closing brace. */
  readonly end: number;
}

/**
 * Members of the object that starts at or after `from`; `null` when there is no well-formed object.
 * @param inner Key of a member whose own members are wanted as well: its bytes are then gone through only once.
 */
export function scanObject(
  bytes: Uint8Array,
  from = 0,
  inner: Uint8Array | null = null,
): ScannedObject | null {
  const members: Member[] = [];
  let at = skipSpace(bytes, from);
  if (bytes[at] !== OPEN_BRACE) return null;
  at = skipSpace(bytes, at + 1);
  if (bytes[at] === CLOSE_BRACE) return { members, end: at + 1 };
  while (bytes[at] === QUOTE) {
    const keyStart = at + 1;
    const afterKey = skipString(bytes, at);
    if (afterKey === -1) return null;
    const keyEnd = afterKey - 1;
    at = skipSpace(bytes, afterKey);
    if (bytes[at] !== COLON) return null;
    const valueStart = skipSpace(bytes, at + 1);
    const scanned =
      inner !== null && isKey(bytes, keyStart, keyEnd, inner) ? scanObject(bytes, valueStart) : null;
    const valueEnd = scanned === null ? skipValue(bytes, valueStart) : scanned.end;
    if (valueEnd === -1) return null;
    members.push({ keyStart, keyEnd, valueStart, valueEnd, members: scanned?.members ?? null });
    at = skipSpace(bytes, valueEnd);
    if (bytes[at] === CLOSE_BRACE) return { members, end: at + 1 };
    if (bytes[at] !== COMMA) return null;
    at = skipSpace(bytes, at + 1);
  }
  return null;
}

function isKey(bytes: Uint8Array, start: number, end: number, key: Uint8Array): boolean {
  if (end - start !== key.length) return false;
  for (let at = 0; at < key.length; at += 1) if (bytes[start + at] !== key[at]) return false;
  return true;
}

/** True when the member has this key, as it stands in the text. */
export const hasKey = (bytes: Uint8Array, { keyStart, keyEnd }: Member, key: Uint8Array): boolean =>
  isKey(bytes, keyStart, keyEnd, key);

/** True when a key holds an escape, which only a parser reads right. */
export function hasEscapedKey(bytes: Uint8Array, members: readonly Member[]): boolean {
  for (const { keyStart, keyEnd } of members) {
    for (let at = keyStart; at < keyEnd; at += 1) if (bytes[at] === BACKSLASH) return true;
  }
  return false;
}
