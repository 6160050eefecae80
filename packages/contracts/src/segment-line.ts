import type { ItemError } from './failures.js';
import { LIMITS } from './limits.js';

/** Where an answer that was taken over comes from: the job whose runner got it, and when it was settled. */
export interface AnswerOrigin {
  /** Job id. */
  readonly j: string;
  /** Epoch milliseconds. */
  readonly t: number;
}

/**
 * One line of a segment: what a runner hands over for one ended item.
 *
 *     <header JSON> TAB <body bytes> LF
 *
 * JSON never holds a raw tab, so the first tab of a line ends the header. The body is the engine's answer (or its
 * error body, or nothing) as one line of JSON whose U+2028, U+2029 and U+0085 are escaped. Whoever maps a line to
 * a dialect parses the short header and passes the body through as bytes.
 */
export interface SegmentHeader {
  /** Item index: 0-based input order. */
  readonly i: number;
  /** `custom_id`. */
  readonly c: string;
  /** True when the item succeeded. */
  readonly ok: boolean;
  /** HTTP status of the engine's answer; 0 when there was none. */
  readonly st: number;
  /** Charged attempts, the last one included. */
  readonly a: number;
  /** Milliseconds of the last attempt. */
  readonly ms: number;
  /** Request id that the runner gave to the engine. */
  readonly r: string;
  /** Whole numbers from 0 to `LIMITS.answerTokens`. */
  readonly u?: TokenCounts;
  /** Why the item failed; present exactly when `ok` is false. */
  readonly e?: ItemError;
  /** Present where an earlier job's answer was taken over; written by the control plane only. */
  readonly f?: AnswerOrigin;
}

/** Tokens: input, cached input, output, reasoning output. */
export type TokenCounts = readonly [number, number, number, number];

/** True for a number of tokens that can be counted: so many items of so many tokens still add up to a whole number. */
export const isTokenCount = (count: unknown): count is number =>
  Number.isInteger(count) && Number(count) >= 0 && Number(count) <= LIMITS.answerTokens;

const isTokenCounts = (counts: unknown): counts is TokenCounts =>
  Array.isArray(counts) && counts.length === 4 && counts.every(isTokenCount);

export const SEGMENT_TAB = 0x09;
const LINE_FEED = 0x0a;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What stands before the body of a line; behind it stands a line feed. For who gathers lines without copying bodies. */
export const segmentLineHead = (header: SegmentHeader): string => `${JSON.stringify(header)}\t`;

/** Encodes one line, line feed included. `body` must already be one line. */
export function encodeSegmentLine(header: SegmentHeader, body: Uint8Array): Uint8Array {
  const head = encoder.encode(segmentLineHead(header));
  const line = new Uint8Array(head.length + body.length + 1);
  line.set(head);
  line.set(body, head.length);
  line[line.length - 1] = LINE_FEED;
  return line;
}

export interface SegmentLine {
  readonly header: SegmentHeader;
  /** Engine body bytes; empty when there was none. A view into the segment, not a copy. */
  readonly body: Uint8Array;
}

/**
 * The header of a line, as its writer wrote it. Token counts that count nothing are left out: they never stand in the
 * way of an answer.
 * @throws {SyntaxError} when it is not JSON
 */
export function readSegmentHeader(bytes: Uint8Array): unknown {
  const header: unknown = JSON.parse(decoder.decode(bytes));
  if (typeof header !== 'object' || header === null || !('u' in header) || isTokenCounts(header.u))
    return header;
  const { u: _odd, ...others } = header;
  return others;
}

/**
 * Walks the lines of a whole segment that the control plane has taken.
 * @throws {SyntaxError} when a line has no header or the header is not JSON.
 */
export function* decodeSegment(segment: Uint8Array): Generator<SegmentLine> {
  let start = 0;
  while (start < segment.length) {
    let end = segment.indexOf(LINE_FEED, start);
    if (end === -1) end = segment.length;
    const tab = segment.indexOf(SEGMENT_TAB, start);
    if (tab === -1 || tab > end) throw new SyntaxError(`segment line at byte ${start} has no header`);
    const header = readSegmentHeader(segment.subarray(start, tab)) as SegmentHeader;
    yield { header, body: segment.subarray(tab + 1, end) };
    start = end + 1;
  }
}

/**
 * An engine's answer as one safe line of JSON: line breaks outside strings are dropped (they can only be white space)
 * and the three code points at which Python's `splitlines` splits are escaped.
 */
export function toSingleLine(body: string): string {
  let line = body;
  if (line.includes('\n') || line.includes('\r') || line.includes('\t'))
    line = line.replace(/[\r\n\t]+/g, ' ');
  return /[\u2028\u2029\u0085]/.test(line)
    ? line.replace(
        /[\u2028\u2029\u0085]/g,
        (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
      )
    : line;
}
