import { readSegmentHeader, SEGMENT_TAB, type SegmentHeader } from '@batch-infer/contracts';

/** No header is longer. */
const HEADER_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

/** A line of a segment, and where its body stands in it. */
interface PlacedLine {
  readonly header: SegmentHeader;
  readonly offset: number;
  readonly length: number;
}

/**
 * Walks the lines of a segment of so many bytes as it comes; no body is kept.
 * @throws SyntaxError when a line has no header, or there are fewer bytes
 */
export async function* segmentLinesIn(
  segment: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<PlacedLine> {
  const lines = new Lines();
  for await (const chunk of segment) yield* lines.next(chunk);
  if (lines.bytes !== bytes) throw new SyntaxError(`there are ${lines.bytes} bytes of ${bytes}`);
  yield* lines.last();
}

class Lines {
  /** Of all chunks before this one. */
  bytes = 0;
  #head: Uint8Array[] = [];
  #headBytes = 0;
  /** The line whose body is being passed. */
  #open: { readonly header: SegmentHeader; readonly offset: number } | null = null;

  *next(chunk: Uint8Array): Generator<PlacedLine> {
    for (let at = 0; at < chunk.length; ) {
      const end = chunk.indexOf(this.#open === null ? SEGMENT_TAB : LINE_FEED, at);
      if (this.#open === null) this.#addHead(chunk.subarray(at, end < 0 ? chunk.length : end));
      if (end < 0) break;
      if (this.#open !== null) {
        yield this.#lineUpTo(this.#open, this.bytes + end);
        this.#open = null;
      } else this.#open = { header: this.#takeHeader(), offset: this.bytes + end + 1 };
      at = end + 1;
    }
    this.bytes += chunk.length;
  }

  *last(): Generator<PlacedLine> {
    if (this.#open !== null) yield this.#lineUpTo(this.#open, this.bytes);
    else if (this.#headBytes > 0) throw new SyntaxError('the last segment line has no header');
  }

  #lineUpTo(open: Pick<PlacedLine, 'header' | 'offset'>, end: number): PlacedLine {
    return { ...open, length: end - open.offset };
  }

  #addHead(bytes: Uint8Array): void {
    this.#head.push(bytes);
    this.#headBytes += bytes.length;
    if (this.#headBytes > HEADER_BYTES) throw new SyntaxError('a segment line has no header');
  }

  #takeHeader(): SegmentHeader {
    const header = readSegmentHeader(Buffer.concat(this.#head)) as SegmentHeader;
    this.#head = [];
    this.#headBytes = 0;
    return header;
  }
}
