/**
 * Finds members of objects and elements of arrays in JSON text without building values. It trusts that the text is
 * valid JSON, as every stored line is; of other text it makes something harmless: it always moves on, and the plan is
 * only an order.
 */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Longer strings are searched by `indexOf`, which is faster once its call is paid for. */
const SHORT_STRING_BYTES = 32;

/** A value in the text: from its first byte to behind its last. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Calls `visit` with the key (without quotes, escapes as written) and the value of each member; behind the object. */
export function eachMember(bytes: Buffer, from: number, visit: (key: Range, value: Range) => void): number {
  let at = skipSeparators(bytes, from + 1);
  while (at < bytes.length && bytes[at] !== 0x7d) {
    const keyEnd = skipValue(bytes, at);
    const valueStart = skipSeparators(bytes, keyEnd);
    const valueEnd = skipValue(bytes, valueStart);
    visit({ from: at + 1, to: keyEnd - 1 }, { from: valueStart, to: valueEnd });
    at = skipSeparators(bytes, valueEnd);
  }
  return at + 1;
}

/** Calls `visit` with each element of an array, until it answers false. */
export function eachElement(bytes: Buffer, from: number, visit: (element: Range) => boolean): void {
  let at = skipSeparators(bytes, from + 1);
  while (at < bytes.length && bytes[at] !== 0x5d) {
    const to = skipValue(bytes, at);
    if (!visit({ from: at, to })) return;
    at = skipSeparators(bytes, to);
  }
}

export const isObjectAt = (bytes: Buffer, at: number): boolean => bytes[at] === 0x7b;
export const isArrayAt = (bytes: Buffer, at: number): boolean => bytes[at] === 0x5b;
export const isStringAt = (bytes: Buffer, at: number): boolean => bytes[at] === QUOTE;

/** White space, commas and colons: what stands between values. */
export function skipSeparators(bytes: Buffer, from: number): number {
  let at = from;
  for (; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte !== 0x2c && byte !== 0x3a && byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)
      break;
  }
  return at;
}

/** Behind the value that begins at `at`; never `at` itself. */
function skipValue(bytes: Buffer, at: number): number {
  const first = bytes[at];
  if (first === QUOTE) return skipString(bytes, at);
  if (first === 0x7b || first === 0x5b) return skipNested(bytes, at);
  let end = at + 1;
  for (; end < bytes.length; end += 1) {
    const byte = bytes[end] ?? 0;
    if (byte === 0x2c || byte === 0x7d || byte === 0x5d || byte <= 0x20) break;
  }
  return end;
}

function skipNested(bytes: Buffer, from: number): number {
  let depth = 0;
  for (let at = from; at < bytes.length; ) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = skipString(bytes, at);
      continue;
    }
    at += 1;
    if (byte === 0x7b || byte === 0x5b) depth += 1;
    else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return bytes.length;
}

function skipString(bytes: Buffer, from: number): number {
  let at = from + 1;
  const shortEnd = Math.min(bytes.length, at + SHORT_STRING_BYTES);
  while (at < shortEnd) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    at += byte === BACKSLASH ? 2 : 1;
  }
  // A quote ends the string when an even number of backslashes stands before it, back to where scanning had come.
  for (let quote = bytes.indexOf(QUOTE, at); quote !== -1; quote = bytes.indexOf(QUOTE, quote + 1)) {
    let slashes = 0;
    while (quote - slashes > at && bytes[quote - slashes - 1] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return quote + 1;
  }
  return bytes.length;
}
