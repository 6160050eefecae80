import type { InputError } from '../error-codes.js';
import { LIMITS } from '../limits.js';
import { EXPLAINED_BYTES, explainInput } from './explain-input.js';
import { IdTable } from './id-table.js';
import { type JsonExcess, JsonMeter } from './json-measure.js';
import { type ParsedJson, parseJsonSteps } from './json-steps.js';
import { findJsonFault } from './json-text.js';
import { checkLine, isObject } from './line-check.js';
import { countMembers, findRepeatedKey, searchRepeatedKeySteps } from './repeated-key.js';
import { allSteps, LONG_TEXT_BYTES, STEP_BYTES, type Steps } from './steps.js';
import { SummaryBuilder } from './summary-builder.js';
import type { ScanOptions, ScanResult } from './types.js';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** Longer lines are measured before they are parsed. */
const LONG_LINE_BYTES = 64 * 1024;

/**
 * Checks a JSONL input while it streams by: encoding, JSON, the fields of each line, ids, limits; and finds shard
 * boundaries. Memory does not grow with the file but for its ids (16 to 43 bytes each) and its shards.
 *
 * A BOM at the start, CRLF, blank lines and a missing last line break are accepted. Line numbers are 1-based and count
 * blank lines; indices are 0-based and do not. A line is reported with its first fault only.
 */
export class JsonlScanner {
  readonly #options: ScanOptions;
  readonly #maxLineBytes: number;
  readonly #maxItems: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #ids = new IdTable();
  readonly #summary: SummaryBuilder;
  readonly #errors: InputError[] = [];
  #errorCount = 0;
  /** Pieces of a line that goes on in the next chunk, copied, and their bytes. */
  #carried: Uint8Array[] = [];
  #carriedBytes = 0;
  /** True while the rest of a line that is too long goes by. */
  #skipping = false;
  /** True behind `maxItems` and behind `LIMITS.countedErrors`: nothing more is checked. */
  #stopped = false;
  /** Bytes of whole lines and carried pieces so far. */
  #bytes = 0;
  #lineStart = 0;
  #line = 0;
  #items = 0;
  /** The first bytes of the input, for whoever has to say what it is. */
  readonly #head = new Uint8Array(EXPLAINED_BYTES);
  #headBytes = 0;
  /** The first line that is not blank; 0 until it is seen. */
  #firstLine = 0;

  constructor(options: ScanOptions = {}) {
    this.#options = options;
    this.#maxLineBytes = options.maxLineBytes ?? LIMITS.lineBytes;
    this.#maxItems = options.maxItems ?? LIMITS.fileItems;
    this.#summary = new SummaryBuilder(options.model ?? null);
  }

  /** Errors so far, counted; lets a caller stop early. */
  get errorCount(): number {
    return this.#errorCount;
  }

  /** Takes the next bytes, cut anywhere. The chunk is not kept: its memory may be used again. */
  push(chunk: Uint8Array): void {
    allSteps(this.pushSteps(chunk));
  }

  /** The same in short steps, of which all must be run before the next chunk. */
  *pushSteps(chunk: Uint8Array): Steps<void> {
    if (this.#stopped) {
      this.#bytes += chunk.length;
      return;
    }
    if (this.#headBytes < EXPLAINED_BYTES) {
      const piece = chunk.subarray(0, EXPLAINED_BYTES - this.#headBytes);
      this.#head.set(piece, this.#headBytes);
      this.#headBytes += piece.length;
    }
    let from = 0;
    let yieldAt = this.#errorCount + STEP_ERRORS;
    for (;;) {
      const to = chunk.indexOf(LINE_FEED, from);
      if (to === -1) break;
      this.#bytes += to + 1 - from;
      const line = this.#endLine(chunk.subarray(from, to));
      if (line !== null) {
        if (line.content.length > LONG_TEXT_BYTES) yield* this.#checkLongLine(line);
        else this.#checkLine(line);
      }
      from = to + 1;
      // A bad line costs far more than a good one.
      if (this.#errorCount >= yieldAt) {
        yield;
        yieldAt = this.#errorCount + STEP_ERRORS;
      }
      if (this.#stopped) {
        this.#bytes += chunk.length - from;
        return;
      }
    }
    if (from < chunk.length) this.#carry(chunk.subarray(from));
  }

  /** Ends the input. The scanner cannot be used again. */
  end(): ScanResult {
    return allSteps(this.endSteps());
  }

  /** The same in short steps. */
  *endSteps(): Steps<ScanResult> {
    if (!this.#stopped && (this.#carriedBytes > 0 || this.#skipping)) {
      const line = this.#endLine(new Uint8Array(0));
      if (line !== null) yield* this.#checkLongLine(line);
    }
    if (this.#items === 0 && this.#errorCount === 0) {
      this.#errorCount = 1;
      this.#errors.push({
        line: null,
        param: null,
        code: 'empty_file',
        message: 'The file has no requests: every line is blank',
      });
    }
    const explained = this.#explained();
    if (explained !== null) {
      const error = { line: this.#firstLine, param: null, code: 'not_jsonl', message: explained };
      return { errors: [error], errorCount: 1, summary: this.#summary.finish(this.#items, this.#bytes) };
    }
    return {
      errors: this.#errors,
      errorCount: this.#errorCount,
      summary: this.#summary.finish(this.#items, this.#bytes),
    };
  }

  /** What the whole input is, when its very first line is no object: one sentence instead of an error for every line. */
  #explained(): string | null {
    const [first] = this.#errors;
    if (first === undefined || first.line !== this.#firstLine || !UNREADABLE.has(first.code)) return null;
    return explainInput(this.#head.subarray(0, this.#headBytes));
  }

  #carry(piece: Uint8Array): void {
    this.#bytes += piece.length;
    if (this.#skipping) return;
    this.#carriedBytes += piece.length;
    // One more byte than the limit may be the carriage return of a CRLF.
    if (this.#carriedBytes > this.#maxLineBytes + 1) {
      this.#skipping = true;
      this.#carried = [];
      return;
    }
    this.#carried.push(piece.slice());
  }

  /** The line that ends here; `null` when there is nothing in it to check. */
  #endLine(tail: Uint8Array): Line | null {
    this.#line += 1;
    let bytes = tail;
    if (this.#carriedBytes > 0 && !this.#skipping) bytes = joined(this.#carried, tail, this.#carriedBytes);
    const tooLong = this.#skipping || contentLength(bytes) > this.#maxLineBytes;
    this.#carried = [];
    this.#carriedBytes = 0;
    this.#skipping = false;
    const start = this.#lineStart;
    this.#lineStart = this.#bytes;
    if (tooLong) {
      if (this.#items === 0) this.#firstLine = this.#line;
      this.#items += 1;
      this.#report(
        'line_too_long',
        null,
        `is longer than ${this.#maxLineBytes} bytes, the limit of one line`,
      );
      return null;
    }
    const skipped = start === 0 && hasBom(bytes) ? 3 : 0;
    const content = skipped === 0 ? bytes : bytes.subarray(skipped);
    return isBlank(content) ? null : { content, offset: start + skipped };
  }

  #checkLine(line: Line): void {
    if (this.#countItem()) this.#checkValue(this.#parse(line.content), line);
  }

  *#checkLongLine(line: Line): Steps<void> {
    if (this.#countItem()) this.#checkValue(yield* this.#parseSteps(line.content), line);
  }

  /** False behind the last item that may be. */
  #countItem(): boolean {
    const index = this.#items;
    if (index >= this.#maxItems) {
      this.#stopped = true;
      this.#report(
        'too_many_items',
        null,
        `is request number ${index + 1}, and the limit of one file is ${this.#maxItems}`,
      );
      return false;
    }
    if (index === 0) this.#firstLine = this.#line;
    this.#items += 1;
    return true;
  }

  #checkValue(value: unknown, { offset }: Line): void {
    if (value === REFUSED) return;
    const index = this.#items - 1;
    const fault = isObject(value) ? (this.#options.judge?.(value) ?? null) : null;
    if (fault !== null) {
      this.#report(fault.code, fault.param, fault.message);
      return;
    }
    const verdict = checkLine(value, this.#options);
    if (!verdict.ok) {
      this.#report(verdict.code, verdict.param, verdict.message);
      return;
    }
    // A line without an id is known by its index, which then must not be another line's id.
    const customId = verdict.customId ?? String(index);
    const usedBy = this.#ids.add(customId, this.#line);
    if (usedBy !== 0) {
      const what =
        verdict.customId === null
          ? `has no custom_id, and its index ${index}`
          : `custom_id ${JSON.stringify(customId)}`;
      this.#report('duplicate_custom_id', 'custom_id', `${what} is already the custom_id of line ${usedBy}`);
      return;
    }
    const { url, model } = verdict;
    if (model !== null && !this.#summary.hasModel(model) && this.#summary.modelCount >= LIMITS.fileModels) {
      this.#report(
        'too_many_models',
        'body.model',
        `names one model more than the ${LIMITS.fileModels} that one file may have`,
      );
      return;
    }
    const named = verdict.customId !== null;
    const { body } = verdict;
    this.#summary.add({ line: this.#line, index, offset, end: this.#bytes, url, model, named, body });
  }

  #parse(bytes: Uint8Array): unknown {
    const meter = bytes.length > LONG_LINE_BYTES ? new JsonMeter(LINE_BOUNDS) : null;
    const excess = meter?.push(bytes) ?? null;
    if (excess !== null) return this.#refuseExcess(excess);
    const text = this.#decode(bytes);
    if (text === null) return REFUSED;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return this.#refuseText(text);
    }
    const members = countMembers(value, LIMITS.lineDepth);
    if (members === null) return this.#refuseExcess('depth');
    const repeated = findRepeatedKey(text, members, meter?.members);
    return repeated === null ? value : this.#refuseRepeated(repeated);
  }

  *#parseSteps(bytes: Uint8Array): Steps<unknown> {
    const meter = new JsonMeter(LINE_BOUNDS);
    for (let at = 0; at < bytes.length; at += STEP_BYTES) {
      const excess = meter.push(bytes.subarray(at, at + STEP_BYTES));
      if (excess !== null) return this.#refuseExcess(excess);
      yield;
    }
    let parsed: ParsedJson;
    try {
      parsed = yield* parseJsonSteps(bytes);
    } catch {
      yield;
      const text = this.#decode(bytes);
      yield;
      return text === null ? REFUSED : this.#refuseText(text);
    }
    if (parsed.members === meter.members) return parsed.value;
    const repeated = yield* searchRepeatedKeySteps(this.#decode(bytes) ?? '');
    return repeated === null ? parsed.value : this.#refuseRepeated(repeated);
  }

  #decode(bytes: Uint8Array): string | null {
    try {
      return this.#decoder.decode(bytes);
    } catch {
      this.#report('invalid_utf8', null, 'is not valid UTF-8');
      return null;
    }
  }

  #refuseText(text: string): typeof REFUSED {
    const { column, reason } = findJsonFault(text);
    this.#report('invalid_json', null, `is not valid JSON: ${reason} (column ${column})`);
    return REFUSED;
  }

  #refuseRepeated(key: string): typeof REFUSED {
    this.#report('repeated_key', key, `${key} stands twice in one object`);
    return REFUSED;
  }

  #refuseExcess(excess: JsonExcess): typeof REFUSED {
    const [code, message] = EXCESS[excess];
    this.#report(code, null, message);
    return REFUSED;
  }

  #report(code: string, param: string | null, message: string): void {
    this.#errorCount += 1;
    // Nobody reads so many: judging millions of them only costs time.
    if (this.#errorCount >= LIMITS.countedErrors) this.#stopped = true;
    if (this.#errors.length < LIMITS.reportedErrors) {
      const joint = param === null || code === 'duplicate_custom_id' ? ' ' : ': ';
      this.#errors.push({ line: this.#line, param, code, message: `Line ${this.#line}${joint}${message}` });
    }
  }
}

/** A line that is not blank. */
interface Line {
  readonly content: Uint8Array;
  /** Of its first byte, from the start of the input. */
  readonly offset: number;
}

/** Bad lines of one step. */
const STEP_ERRORS = 250;

const REFUSED = Symbol('refused');

const LINE_BOUNDS = {
  depth: LIMITS.lineDepth,
  values: LIMITS.jsonValues,
  members: LIMITS.jsonMembers,
  objectMembers: LIMITS.jsonObjectMembers,
};

const EXCESS: Readonly<Record<JsonExcess, readonly [code: string, message: string]>> = {
  depth: ['too_deep', `nests deeper than ${LIMITS.lineDepth} levels, the limit of one line`],
  values: ['too_many_values', `has more than ${LIMITS.jsonValues} values, the limit of one line`],
  members: ['too_many_values', `has more than ${LIMITS.jsonMembers} keys, the limit of one line`],
  objectMembers: [
    'too_many_values',
    `has an object of more than ${LIMITS.jsonObjectMembers} keys, the limit of one object`,
  ],
};

/** Faults of a first line that may be those of the whole file. */
const UNREADABLE: ReadonlySet<string> = new Set([
  'invalid_utf8',
  'invalid_json',
  'not_an_object',
  'line_too_long',
]);

function joined(pieces: readonly Uint8Array[], tail: Uint8Array, carriedBytes: number): Uint8Array {
  const line = new Uint8Array(carriedBytes + tail.length);
  let at = 0;
  for (const piece of pieces) {
    line.set(piece, at);
    at += piece.length;
  }
  line.set(tail, at);
  return line;
}

const hasBom = (bytes: Uint8Array): boolean => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;

const contentLength = (bytes: Uint8Array): number =>
  bytes.at(-1) === CARRIAGE_RETURN ? bytes.length - 1 : bytes.length;

/** Only white space: such a line is no request. */
export function isBlank(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x09 && byte !== CARRIAGE_RETURN) return false;
  }
  return true;
}
