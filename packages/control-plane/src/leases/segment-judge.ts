import { LIMITS, readSegmentHeader, SEGMENT_TAB, type SegmentHeader } from '@batch-infer/contracts';
import type { SettleResponse } from '@batch-infer/contracts/runner-protocol';
import { DomainError } from '../errors.js';
import { positionOf } from '../plan/positions.js';
import type { ItemOutcome, ShardRecord } from '../ports/records.js';

type ShardItems = Pick<ShardRecord, 'first' | 'count' | 'indexes'>;
type RefusedLine = NonNullable<SettleResponse['refused']>[number];

const LINE_FEED = 0x0a;
/** A header holds a custom id and the words of an error, and nothing else that grows. */
const HEADER_MAX_BYTES = 64 * 1024;

/** Where the reader stands: in a header, before the first byte of a body, in one that is kept, in a line that is not. */
type Place = 'header' | 'before_body' | 'body' | 'skipped';

/**
 * Judges a segment line by line while it streams past: what is wrong with a line is that line's matter, and the others
 * are kept. Headers are held against the shard, since a runner must not end items that it does not hold; bodies pass
 * through unread. Of two lines of one item the first counts.
 */
export class SegmentJudge {
  readonly #shard: ShardItems;
  readonly #outcomes = new Map<number, ItemOutcome>();
  readonly #refused: RefusedLine[] = [];
  #place: Place = 'header';
  #line = 0;
  #bytes = 0;
  /** The header so far, while it is not whole or not known to be kept. */
  #header: Uint8Array[] = [];
  #headerBytes = 0;
  /** Of a header that is whole. */
  #outcome: ItemOutcome | null = null;

  constructor(shard: ShardItems) {
    this.#shard = shard;
  }

  /** Of the lines that were kept, in their order. */
  get outcomes(): readonly ItemOutcome[] {
    return [...this.#outcomes.values()];
  }

  get refused(): readonly RefusedLine[] {
    return this.#refused;
  }

  /**
   * The bytes of the lines that are kept.
   * @throws DomainError `body_too_large`, when the segment is longer than one may be
   */
  async *kept(segment: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of segment) yield* this.#push(chunk);
    yield* this.#end();
  }

  #push(chunk: Uint8Array): Uint8Array[] {
    this.#count(chunk.length);
    const kept: Uint8Array[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (this.#place === 'header') at = this.#pushHeader(chunk, at);
      else if (this.#place === 'before_body') {
        const isEmpty = chunk[at] === LINE_FEED;
        if (this.#decide(isEmpty)) {
          kept.push(...this.#header, Uint8Array.of(SEGMENT_TAB));
          this.#place = 'body';
        } else this.#place = 'skipped';
        this.#forgetHeader();
      } else {
        const lineFeed = chunk.indexOf(LINE_FEED, at);
        const end = lineFeed === -1 ? chunk.length : lineFeed + 1;
        if (this.#place === 'body') kept.push(chunk.subarray(at, end));
        if (lineFeed !== -1) this.#nextLine();
        at = end;
      }
    }
    return kept;
  }

  #end(): Uint8Array[] {
    const lineFeed = Uint8Array.of(LINE_FEED);
    if (this.#place === 'body') return [lineFeed];
    if (this.#place === 'header' && this.#headerBytes > 0) this.#refuse('has no header');
    if (this.#place !== 'before_body' || !this.#decide(true)) return [];
    return [...this.#header, Uint8Array.of(SEGMENT_TAB), lineFeed];
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    const isAlone = this.#line === 0 && this.#place !== 'skipped';
    if (this.#bytes <= (isAlone ? LIMITS.answerBytes + HEADER_MAX_BYTES : LIMITS.segmentBytes)) return;
    throw new DomainError(
      'body_too_large',
      isAlone
        ? `An answer may have ${LIMITS.answerBytes} bytes.`
        : `A segment of several lines may have ${LIMITS.segmentBytes} bytes: settle fewer items at once.`,
    );
  }

  #pushHeader(chunk: Uint8Array, from: number): number {
    const tab = chunk.indexOf(SEGMENT_TAB, from);
    const headerEnd = tab === -1 ? chunk.length : tab;
    const lineFeed = chunk.subarray(from, headerEnd).indexOf(LINE_FEED);
    if (lineFeed !== -1) {
      this.#refuse('has no header');
      this.#nextLine();
      return from + lineFeed + 1;
    }
    this.#header.push(chunk.subarray(from, headerEnd));
    this.#headerBytes += headerEnd - from;
    if (this.#headerBytes > HEADER_MAX_BYTES) {
      this.#refuse(`has a header of more than ${HEADER_MAX_BYTES} bytes`);
      this.#forgetHeader();
      this.#place = 'skipped';
    } else if (tab !== -1) this.#judgeHeader();
    return tab === -1 ? chunk.length : tab + 1;
  }

  #judgeHeader(): void {
    const [only] = this.#header;
    const read = readHeader(
      this.#header.length === 1 && only !== undefined ? only : Buffer.concat(this.#header),
      this.#shard,
    );
    if (typeof read === 'string') {
      this.#refuse(read);
      this.#forgetHeader();
      this.#place = 'skipped';
      return;
    }
    this.#outcome = read;
    this.#place = 'before_body';
  }

  /** Whether the line whose header is whole is kept. */
  #decide(isEmpty: boolean): boolean {
    const outcome = this.#outcome;
    if (outcome === null) return false;
    if (outcome.ok && isEmpty) {
      this.#refuse('has no body although the item succeeded');
      return false;
    }
    if (this.#outcomes.has(outcome.index)) return false;
    this.#outcomes.set(outcome.index, outcome);
    return true;
  }

  #refuse(reason: string): void {
    this.#refused.push({ line: this.#line, reason });
  }

  #forgetHeader(): void {
    this.#header = [];
    this.#headerBytes = 0;
    this.#outcome = null;
  }

  #nextLine(): void {
    this.#forgetHeader();
    this.#place = 'header';
    this.#line += 1;
  }
}

/** What a header says, or why it is not taken. */
function readHeader(bytes: Uint8Array, shard: ShardItems): ItemOutcome | string {
  let header: unknown;
  try {
    header = readSegmentHeader(bytes);
  } catch {
    return 'has a header that is not JSON';
  }
  if (typeof header !== 'object' || header === null) return 'has a header that is not an object';
  return outcomeOf(header, shard);
}

function outcomeOf(header: Partial<SegmentHeader>, shard: ShardItems): ItemOutcome | string {
  const { i: index, c: customId, ok, e: error, u: usage } = header;
  if (index === undefined || !Number.isInteger(index)) return 'has no item index "i"';
  const position = positionOf(shard, index);
  if (position < 0 || position >= shard.count) return 'names an item outside of the shard';
  if (typeof customId !== 'string' || customId === '') return 'has no custom id "c"';
  if (typeof ok !== 'boolean') return 'has no outcome "ok"';
  const odd = (['st', 'a', 'ms'] as const).find((name) => !isCount(header[name]));
  if (odd !== undefined) return `has no whole number "${odd}"`;
  if (!ok && !isError(error)) return 'has no error "e" although the item failed';
  return {
    index,
    customId,
    ok,
    error: ok ? null : (error ?? null),
    usage:
      usage === undefined
        ? null
        : {
            inputTokens: usage[0],
            cachedInputTokens: usage[1],
            outputTokens: usage[2],
            reasoningTokens: usage[3],
          },
  };
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;

const isError = (error: SegmentHeader['e']): boolean =>
  typeof error === 'object' &&
  error !== null &&
  // A runner may be newer than we are, and know more codes.
  typeof error.code === 'string' &&
  typeof error.message === 'string';
