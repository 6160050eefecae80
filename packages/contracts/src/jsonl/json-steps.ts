import { countMembers } from './repeated-key.js';
import { STEP_BYTES, type Steps } from './steps.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const LETTER_U = 0x75;

/** What a byte between strings does to the depth. */
const NESTING = new Int8Array(256);
for (const byte of [OPEN_BRACE, OPEN_BRACKET]) NESTING[byte] = 1;
for (const byte of [CLOSE_BRACE, CLOSE_BRACKET]) NESTING[byte] = -1;

const isOpening = (byte: number): boolean => byte === OPEN_BRACE || byte === OPEN_BRACKET;
const isClosing = (byte: number): boolean => byte === CLOSE_BRACE || byte === CLOSE_BRACKET;

const startsLong = (byte: number): boolean => byte === QUOTE || isOpening(byte);

export interface ParsedJson {
  readonly value: unknown;
  /** Members of all objects; of a key that stands twice in one object one is counted. */
  readonly members: number;
}

/**
 * What `JSON.parse` makes of a text, in short steps: long arrays, objects and strings are parsed in pieces of
 * `STEP_BYTES`. It takes what `JSON.parse` takes and nothing else. How deeply the text nests must have been bounded
 * before: it recurses.
 *
 * @param bytes UTF-8 without a byte order mark
 * @param stepBytes for tests
 * @throws Error when the text is not JSON or not UTF-8. The message says nothing of use: find the fault with `findJsonFault`.
 */
export function* parseJsonSteps(bytes: Uint8Array, stepBytes = STEP_BYTES): Steps<ParsedJson> {
  const ends = yield* findLongValues(bytes, stepBytes);
  const parser = new StepParser(bytes, ends, stepBytes);
  const values = yield* parser.elements(0, bytes.length);
  if (values.length !== 1) throw new SyntaxError('not one JSON value');
  return { value: values[0], members: parser.members };
}

/** Where the values of more than `stepBytes` end, by where they begin. Keys are not values. */
function* findLongValues(bytes: Uint8Array, stepBytes: number): Steps<ReadonlyMap<number, number>> {
  const finder = new LongValueFinder(bytes, stepBytes);
  for (let from = 0; from < bytes.length; from += stepBytes) {
    if (from > 0) yield;
    finder.look(from, Math.min(bytes.length, from + stepBytes));
  }
  return finder.end();
}

class LongValueFinder {
  readonly #bytes: Uint8Array;
  readonly #stepBytes: number;
  readonly #ends = new Map<number, number>();
  /** Where brackets stand that are not closed. */
  readonly #open: number[] = [];
  /** Where the string begins that is not closed; -1: none. */
  #string = -1;
  #escaped = false;

  constructor(bytes: Uint8Array, stepBytes: number) {
    this.#bytes = bytes;
    this.#stepBytes = stepBytes;
  }

  look(from: number, to: number): void {
    for (let at = from; at < to; ) at = this.#string === -1 ? this.#between(at, to) : this.#inString(at, to);
  }

  end(): ReadonlyMap<number, number> {
    if (this.#string !== -1 || this.#open.length > 0) throw new SyntaxError('ends too early');
    return this.#ends;
  }

  /** Up to the next string. */
  #between(from: number, to: number): number {
    for (let at = from; at < to; at += 1) {
      const byte = this.#bytes[at] ?? 0;
      if (byte === QUOTE) {
        this.#string = at;
        return at + 1;
      }
      if (isOpening(byte)) this.#open.push(at);
      else if (isClosing(byte)) this.#close(at);
    }
    return to;
  }

  #close(at: number): void {
    const start = this.#open.pop();
    if (start === undefined) throw new SyntaxError('a bracket too many');
    if (at + 1 - start > this.#stepBytes) this.#ends.set(start, at + 1);
  }

  /** Up to the end of a string. */
  #inString(from: number, to: number): number {
    let escaped = this.#escaped;
    for (let at = from; at < to; at += 1) {
      const byte = this.#bytes[at];
      if (escaped) escaped = false;
      else if (byte === BACKSLASH) escaped = true;
      else if (byte === QUOTE) {
        this.#endString(at + 1);
        return at + 1;
      }
    }
    this.#escaped = escaped;
    return to;
  }

  #endString(end: number): void {
    const isLong = end - this.#string > this.#stepBytes;
    if (isLong && this.#bytes[skipSpace(this.#bytes, end)] !== COLON) this.#ends.set(this.#string, end);
    this.#string = -1;
    this.#escaped = false;
  }
}

/** Takes the members of an object, or the elements of an array, as they are parsed. */
interface Container {
  readonly opening: '{' | '[';
  readonly closing: '}' | ']';
  /** A parsed piece; how many values it has. */
  readonly take: (piece: object) => number;
}

class StepParser {
  readonly #bytes: Uint8Array;
  readonly #ends: ReadonlyMap<number, number>;
  readonly #stepBytes: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  members = 0;

  constructor(bytes: Uint8Array, ends: ReadonlyMap<number, number>, stepBytes: number) {
    this.#bytes = bytes;
    this.#ends = ends;
    this.#stepBytes = stepBytes;
  }

  /** The elements that stand in a range, with commas between them. */
  *elements(from: number, to: number): Steps<unknown[]> {
    const elements: unknown[] = [];
    yield* this.#content(from, to, {
      opening: '[',
      closing: ']',
      take: (piece) => {
        const values = piece as readonly unknown[];
        for (const value of values) elements.push(value);
        return values.length;
      },
    });
    return elements;
  }

  *#members(from: number, to: number): Steps<object> {
    const object: Record<string, unknown> = {};
    yield* this.#content(from, to, {
      opening: '{',
      closing: '}',
      take: (piece) => {
        const entries = Object.entries(piece);
        // Assigning to `__proto__` would not make a member.
        for (const [key, value] of entries)
          Object.defineProperty(object, key, {
            value,
            writable: true,
            enumerable: true,
            configurable: true,
          });
        this.members -= entries.length;
        return entries.length;
      },
    });
    this.members += Object.keys(object).length;
    return object;
  }

  /** What stands between two brackets: runs of short values are parsed together, each long one by itself. */
  *#content(from: number, to: number, container: Container): Steps<void> {
    const bytes = this.#bytes;
    let runStart = from;
    let valueStart = from;
    let depth = 0;
    for (let at = from; at < to; ) {
      const byte = bytes[at] ?? 0;
      if (depth === 0 && startsLong(byte) && this.#ends.has(at)) {
        if (valueStart > runStart) this.#takeRun(runStart, valueStart - 1, container);
        at = yield* this.#takeLong({ from: valueStart, start: at, to }, container);
        if (at === to) return;
        at += 1;
        runStart = at;
        valueStart = at;
        continue;
      }
      if (byte === QUOTE) {
        at = behindString(bytes, at);
        continue;
      }
      depth += NESTING[byte] ?? 0;
      const behind = at + 1;
      at = skipSpace(bytes, behind);
      if (byte !== COMMA || depth !== 0) continue;
      valueStart = behind;
      if (behind - runStart <= this.#stepBytes) continue;
      this.#takeRun(runStart, behind - 1, container);
      runStart = behind;
      yield;
    }
    // Nothing at all is an empty array or object; nothing behind a comma is a fault.
    if (runStart === from && valueStart === from && skipSpace(bytes, from) >= to) return;
    this.#takeRun(runStart, to, container);
  }

  /** Values with commas between them. */
  #takeRun(from: number, to: number, container: Container): void {
    const text = this.#decoder.decode(this.#bytes.subarray(from, to));
    const piece: object = JSON.parse(`${container.opening}${text}${container.closing}`);
    this.members += countMembers(piece, Number.POSITIVE_INFINITY) ?? 0;
    if (container.take(piece) === 0) throw new SyntaxError('expected a value');
  }

  /** One long value, with its key in an object; where the comma behind it stands, or the end of what holds it. */
  *#takeLong(
    { from, start, to }: { from: number; start: number; to: number },
    container: Container,
  ): Steps<number> {
    const bytes = this.#bytes;
    const before = this.#decoder.decode(bytes.subarray(from, start));
    const piece = JSON.parse(`${container.opening}${before}""${container.closing}`) as Record<
      string,
      unknown
    >;
    const [key = ''] = Object.keys(piece);
    const end = this.#ends.get(start) ?? bytes.length;
    const first = bytes[start];
    yield;
    let value: unknown;
    if (first === QUOTE) value = yield* this.#string(start + 1, end - 1);
    else if (first === OPEN_BRACE && bytes[end - 1] === CLOSE_BRACE)
      value = yield* this.#members(start + 1, end - 1);
    else if (first === OPEN_BRACKET && bytes[end - 1] === CLOSE_BRACKET)
      value = yield* this.elements(start + 1, end - 1);
    else throw new SyntaxError('brackets do not match');
    if (container.opening === '{') this.members += 1;
    // The key is the piece's own, so that `__proto__` is a member like any other.
    piece[key] = value;
    container.take(piece);
    const behind = skipSpace(bytes, end);
    if (behind < to && bytes[behind] !== COMMA) throw new SyntaxError('expected a comma');
    return Math.min(behind, to);
  }

  /** What stands between two quotes. */
  *#string(from: number, to: number): Steps<string> {
    const pieces: string[] = [];
    const pieceBytes = Math.max(this.#stepBytes, LEAST_PIECE_BYTES);
    for (let at = from; at < to; ) {
      const end = to - at <= pieceBytes ? to : cutOf(this.#bytes, at, at + pieceBytes);
      pieces.push(JSON.parse(`"${this.#decoder.decode(this.#bytes.subarray(at, end))}"`) as string);
      at = end;
      yield;
    }
    return pieces.join('');
  }
}

/** More than an escape and a character, so that each piece of a string has something in it. */
const LEAST_PIECE_BYTES = 16;

/** The last place up to `to` where a string that begins at `from` may be cut: in no escape and in no character. */
function cutOf(bytes: Uint8Array, from: number, to: number): number {
  let cut = to;
  for (let back = 0; back < 3 && ((bytes[cut] ?? 0) & 0xc0) === 0x80; back += 1) cut -= 1;
  for (let slash = cut - 1; slash >= Math.max(from, cut - 5); slash -= 1) {
    if (bytes[slash] !== BACKSLASH) continue;
    let before = slash;
    while (before > from && bytes[before - 1] === BACKSLASH) before -= 1;
    const opensEscape = (slash - before) % 2 === 0;
    const length = bytes[slash + 1] === LETTER_U ? 6 : 2;
    return opensEscape && slash + length > cut ? slash : cut;
  }
  return cut;
}

function behindString(bytes: Uint8Array, from: number): number {
  for (let at = from + 1; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === BACKSLASH) at += 1;
    else if (byte === QUOTE) return at + 1;
  }
  return bytes.length;
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  for (;;) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    at += 1;
  }
}
