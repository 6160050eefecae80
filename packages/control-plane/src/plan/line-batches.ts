import type { Readable } from 'node:stream';
import { isBlank, type ScanSummary } from '@batch-infer/contracts/jsonl';
import type { Blobs } from '../ports/blobs.js';
import type { JobRecord } from '../ports/records.js';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** The lines of a job's input from its first item on. */
export async function inputLines(
  blobs: Blobs,
  job: Pick<JobRecord, 'inputBlobKey'>,
  summary: Pick<ScanSummary, 'shards'>,
): Promise<AsyncGenerator<Buffer[]>> {
  // The first shard begins behind a byte order mark.
  const offset = summary.shards[0]?.offset ?? 0;
  return lineBatches(await blobs.get({ key: job.inputBlobKey, offset }));
}

/**
 * The lines of a stored input, without line breaks, blank ones left out, in batches as they arrive. Lines are views of
 * what was read: whoever keeps one copies it. A byte order mark is the caller's to skip: shards begin behind it.
 */
async function* lineBatches(stream: Readable): AsyncGenerator<Buffer[]> {
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
