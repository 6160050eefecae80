import { eachElement, skipSeparators } from '../plan/json-members.js';
import { isJsonSpace, JSON_BYTES, jsonMembers } from './json-value-scanner.js';

/**
 * Pieces of a JSON text that is known to be valid, as the bytes that came: what is stored and run is what was sent, to the
 * digit of every number, and is never built anew from parsed values.
 */

/** The value of a top-level member, the last one where several have the key; `null` where none has it. */
export function memberOf(object: Buffer, key: string): Buffer | null {
  const member = jsonMembers(object)?.findLast((one) => one.key === key);
  return member === undefined ? null : object.subarray(member.start, member.end);
}

/** The object without these top-level members; the same bytes where it has none of them. */
export function withoutMembers(object: Buffer, keys: ReadonlySet<string>): Buffer {
  const members = jsonMembers(object) ?? [];
  const kept = members.filter(({ key }) => !keys.has(key));
  if (kept.length === members.length) return object;
  const pieces = kept.flatMap(({ key, start, end }, index) => [
    Buffer.from(`${index === 0 ? '' : ','}${JSON.stringify(key)}:`),
    object.subarray(start, end),
  ]);
  return Buffer.concat([Buffer.from('{'), ...pieces, Buffer.from('}')]);
}

/** The elements of an array. */
export function elementsOf(array: Buffer): Buffer[] {
  const elements: Buffer[] = [];
  eachElement(array, skipSeparators(array, 0), ({ from, to }) => {
    elements.push(array.subarray(from, to));
    return true;
  });
  return elements;
}

const { QUOTE, BACKSLASH } = JSON_BYTES;

/** The text without the white space between its tokens, so that it is one line. Linear, whatever it is full of. */
export function compactJson(text: Buffer): Buffer {
  const compact = Buffer.allocUnsafe(text.length);
  let length = 0;
  for (let at = 0; at < text.length; ) {
    const byte = text[at] ?? 0;
    if (byte === QUOTE) {
      const end = behindString(text, at);
      length += text.copy(compact, length, at, end);
      at = end;
      continue;
    }
    at += 1;
    if (isJsonSpace(byte)) continue;
    compact[length] = byte;
    length += 1;
  }
  return length === text.length ? text : compact.subarray(0, length);
}

function behindString(text: Buffer, from: number): number {
  const quote = text.indexOf(QUOTE, from + 1);
  if (quote === -1) return text.length;
  if (text[quote - 1] !== BACKSLASH) return quote + 1;
  // Where quotes are escaped, byte by byte: a search for each of millions of them costs far more.
  for (let at = from + 1; at < text.length; at += 1) {
    const byte = text[at];
    if (byte === BACKSLASH) at += 1;
    else if (byte === QUOTE) return at + 1;
  }
  return text.length;
}
