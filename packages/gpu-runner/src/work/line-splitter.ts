const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Cuts a stream of bytes into lines: blank ones (white space only) are skipped; a byte order mark at the start and a
 * carriage return at a line's end are dropped. Lines inside one chunk are views of it.
 */
export class LineSplitter {
  #rest: Buffer[] = [];
  #atStart = true;

  *push(chunk: Buffer): Generator<Buffer> {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      const line = this.#take(chunk.subarray(start, end));
      start = end + 1;
      if (line !== null) yield line;
    }
    if (start < chunk.length) this.#rest.push(chunk.subarray(start));
  }

  /** The last line, when the stream does not end in a line feed. */
  end(): Buffer | null {
    return this.#rest.length === 0 ? null : this.#take(Buffer.alloc(0));
  }

  #take(tail: Buffer): Buffer | null {
    let line = tail;
    if (this.#rest.length > 0) {
      line = Buffer.concat([...this.#rest, tail]);
      this.#rest = [];
    }
    if (this.#atStart) {
      this.#atStart = false;
      if (line.subarray(0, 3).equals(BYTE_ORDER_MARK)) line = line.subarray(3);
    }
    if (line.at(-1) === CARRIAGE_RETURN) line = line.subarray(0, -1);
    return isBlank(line) ? null : line;
  }
}

function isBlank(line: Buffer): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x09 && byte !== CARRIAGE_RETURN) return false;
  return true;
}
