import { isJsonSpace, JSON_BYTES, JsonSyntaxError, JsonValueScanner, keyOf } from './json-value-scanner.js';

const { QUOTE, OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET, COMMA, COLON } = JSON_BYTES;
const BOM = [0xef, 0xbb, 0xbf];
const MAX_KEY_BYTES = 1_024;

/** What the cutter finds on its way. */
export interface CutHandlers {
  /** An element's bytes, without white space around them; `null` when they are more than `maxElementBytes`. */
  readonly element: (index: number, bytes: Buffer | null) => void;
  /** Another member of the object. */
  readonly otherKey: (key: string) => void;
  /** The member is there, but is no array. */
  readonly notAnArray: () => void;
}

type State =
  | 'start'
  | 'first-key'
  | 'key'
  | 'in-key'
  | 'colon'
  | 'value'
  | 'in-value'
  | 'comma'
  | 'first-element'
  | 'element'
  | 'in-element'
  | 'element-comma'
  | 'end';

const EXPECTED: Readonly<Record<State, string>> = {
  start: "expected '{'",
  'first-key': "expected a property name in double quotes or '}'",
  key: 'expected a property name in double quotes',
  'in-key': 'ends inside a property name',
  colon: "expected ':' after a property name",
  value: 'expected a value',
  'in-value': 'ends inside a value',
  comma: "expected ',' or '}'",
  'first-element': "expected a value or ']'",
  element: 'expected a value',
  'in-element': 'ends inside a value',
  'element-comma': "expected ',' or ']'",
  end: 'there is more after the end of the JSON value',
};

/**
 * Cuts the elements of one array out of a JSON object that streams by: `{"requests":[…, …]}` of any size, of which one
 * element at a time is in memory. Elements are found by their brackets and strings; whether they are valid JSON inside is
 * for their reader to judge.
 */
export class ArrayCutter {
  readonly #key: string;
  readonly #maxElementBytes: number;
  readonly #handlers: CutHandlers;
  readonly #value = new JsonValueScanner();
  #state: State = 'start';
  /** Bytes before the current chunk. */
  #bytes = 0;
  #isArray = false;
  #found = false;
  #elements = 0;
  /** Pieces of a key or an element that goes on in the next chunk. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;

  constructor(params: { key: string; maxElementBytes: number; handlers: CutHandlers }) {
    this.#key = params.key;
    this.#maxElementBytes = params.maxElementBytes;
    this.#handlers = params.handlers;
  }

  /** Whether the array's member was seen. */
  get found(): boolean {
    return this.#found;
  }

  /** Elements so far. */
  get elements(): number {
    return this.#elements;
  }

  /** Takes the next bytes, cut anywhere. @throws JsonSyntaxError */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const byte = chunk[at] ?? 0;
      if (this.#state.startsWith('in-')) at = this.#scan(chunk, at);
      else if (isJsonSpace(byte)) at = spaceEnd(chunk, at + 1);
      else if (this.#isBom(byte, at)) at += 1;
      else at = this.#step(byte, at);
    }
    this.#bytes += chunk.length;
  }

  /** @throws JsonSyntaxError when the text is not complete */
  end(): void {
    if (this.#state === 'end') return;
    const inside = this.#state.startsWith('in-');
    const reason = inside
      ? EXPECTED[this.#state]
      : this.#bytes === 0
        ? 'it is empty'
        : `it ends too early, ${EXPECTED[this.#state]}`;
    throw new JsonSyntaxError(reason, this.#bytes);
  }

  #isBom(byte: number, at: number): boolean {
    const offset = this.#bytes + at;
    return this.#state === 'start' && byte === BOM[offset];
  }

  /** One byte between values; where to go on. */
  #step(byte: number, at: number): number {
    switch (this.#state) {
      case 'start':
        return this.#expect(byte === OPEN_BRACE, 'first-key', at);
      case 'first-key':
        if (byte === CLOSE_BRACE) return this.#to('end', at + 1);
        return this.#begin(byte === QUOTE, 'in-key', byte, at);
      case 'key':
        return this.#begin(byte === QUOTE, 'in-key', byte, at);
      case 'colon':
        return this.#expect(byte === COLON, 'value', at);
      case 'value':
        if (this.#isArray && byte === OPEN_BRACKET) return this.#to('first-element', at + 1);
        if (this.#isArray) this.#handlers.notAnArray();
        return this.#begin(startsValue(byte), 'in-value', byte, at);
      case 'comma':
        if (byte === CLOSE_BRACE) return this.#to('end', at + 1);
        return this.#expect(byte === COMMA, 'key', at);
      case 'first-element':
        if (byte === CLOSE_BRACKET) return this.#to('comma', at + 1);
        return this.#begin(startsValue(byte), 'in-element', byte, at);
      case 'element':
        return this.#begin(startsValue(byte), 'in-element', byte, at);
      case 'element-comma':
        if (byte === CLOSE_BRACKET) return this.#to('comma', at + 1);
        return this.#expect(byte === COMMA, 'element', at);
      default:
        throw new JsonSyntaxError(EXPECTED[this.#state], this.#bytes + at);
    }
  }

  #expect(met: boolean, next: State, at: number): number {
    if (!met) throw new JsonSyntaxError(EXPECTED[this.#state], this.#bytes + at);
    return this.#to(next, at + 1);
  }

  /** The value starts with this byte, which `#scan` is to see. */
  #begin(met: boolean, next: State, byte: number, at: number): number {
    if (!met) throw new JsonSyntaxError(EXPECTED[this.#state], this.#bytes + at);
    this.#value.begin(byte);
    return this.#to(next, at);
  }

  #to(state: State, at: number): number {
    this.#state = state;
    return at;
  }

  /** Goes on inside a key, a value or an element. */
  #scan(chunk: Buffer, from: number): number {
    const end = this.#valueEnd(chunk, from);
    const to = end === -1 ? chunk.length : end;
    if (this.#state !== 'in-value') this.#keep(chunk.subarray(from, to), end === -1);
    if (end === -1) return to;
    if (this.#state === 'in-key') this.#endKey(to);
    else if (this.#state === 'in-value') this.#state = 'comma';
    else this.#endElement();
    return to;
  }

  #valueEnd(chunk: Buffer, from: number): number {
    try {
      return this.#value.scan(chunk, from);
    } catch (error) {
      if (error instanceof JsonSyntaxError)
        throw new JsonSyntaxError(error.message, this.#bytes + error.offset);
      throw error;
    }
  }

  #keep(piece: Buffer, goesOn: boolean): void {
    this.#pieceBytes += piece.length;
    const limit = this.#state === 'in-key' ? MAX_KEY_BYTES : this.#maxElementBytes;
    if (this.#pieceBytes > limit) this.#pieces = [];
    // What waits for the next chunk is copied: a view would hold the whole chunk.
    else this.#pieces.push(goesOn ? Buffer.from(piece) : piece);
  }

  #takePieces(limit: number): Buffer | null {
    const tooLong = this.#pieceBytes > limit;
    const [only] = this.#pieces;
    const bytes = this.#pieces.length === 1 && only !== undefined ? only : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#pieceBytes = 0;
    return tooLong ? null : bytes;
  }

  #endKey(at: number): void {
    const bytes = this.#takePieces(MAX_KEY_BYTES);
    const key = bytes === null ? '' : keyOf(bytes);
    if (key === null) throw new JsonSyntaxError('a property name is broken', this.#bytes + at);
    this.#isArray = key === this.#key && !this.#found;
    if (this.#isArray) this.#found = true;
    else this.#handlers.otherKey(key);
    this.#state = 'colon';
  }

  #endElement(): void {
    const bytes = this.#takePieces(this.#maxElementBytes);
    this.#handlers.element(this.#elements, bytes);
    this.#elements += 1;
    this.#state = 'element-comma';
  }
}

function spaceEnd(chunk: Buffer, from: number): number {
  let at = from;
  while (at < chunk.length && isJsonSpace(chunk[at])) at += 1;
  return at;
}

/** Anything that can begin a value; what it turns out to be is its reader's to judge. */
const startsValue = (byte: number): boolean =>
  byte !== CLOSE_BRACE && byte !== CLOSE_BRACKET && byte !== COMMA && byte !== COLON;
