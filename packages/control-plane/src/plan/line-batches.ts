import type { Readable } from 'node:stream';
import { isBlank } from '@batch-infer/contracts/jsonl';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * The lines of a stored input, without line breaks, blank ones left out, in batches as they arrive. Lines are views of
 * what was read: whoever keeps one copies it. A byte order mark is the caller's to skip: shards begin behind it.
 */
export async function* lineBatches(stream: Readable): AsyncGenerator<Buffer[]> {
  let rest: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const lines: Buffer[] = [];
    let from = 0;
    for (let to = chunk.indexOf(LINE_FEED); to !== -1; to = chunk.indexOf(LINE_FEED, from)) {
      const part = chunk.subarray(from, to);
      addLine(lines, rest.length === 0 ? part : Buffer.concat([...rest, part]));
      if (rest.length > 0) rest = [];
      from = to + 1;
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
    if (lines.length > 0) yield lines;
  }
  const last: Buffer[] = [];
  addLine(last, Buffer.concat(rest));
  if (last.length > 0) yield last;
}

function addLine(lines: Buffer[], bytes: Buffer): void {
  const line = bytes.at(-1) === CARRIAGE_RETURN ? bytes.subarray(0, -1) : bytes;
  if (!isBlank(line)) lines.push(line);
}
