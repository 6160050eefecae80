import { itemError } from '@batch-infer/contracts';
import { ServerError } from '../server/client.js';
import type { OutageWaits } from '../server/outage-waits.js';
import type { ItemMemory, WorkItem } from '../work/item.js';
import { LineSplitter } from '../work/line-splitter.js';
import { requestLineReader } from '../work/request-line.js';
import type { ShardRun } from '../work/shard-run.js';
import { lineOf } from './outcome.js';

export interface ReadOptions {
  readonly run: ShardRun;
  readonly lines: (signal: AbortSignal) => Promise<AsyncIterable<Buffer>>;
  readonly memory: ItemMemory;
  readonly waits: OutageWaits;
  readonly random: () => number;
  readonly onItem: (item: WorkItem) => void;
  /** Called behind the items of every chunk. */
  readonly onChunk: () => void;
}

const DEFAULT_ENDPOINT = '/v1/chat/completions';
const BACKOFF_CEILINGS_MS = [200, 400, 800, 1_600, 3_000];

/**
 * Reads a shard's lines and hands its items on one by one, those that have ended left out. Starts again where it stopped
 * when the stream breaks. Resolves with the number of the shard's items seen.
 * @throws {ServerError} when the control plane refuses for good, `lease_lost` among it.
 */
export async function readItems(options: ReadOptions): Promise<number> {
  const { run, waits } = options;
  const signal = run.reading.signal;
  const progress = { position: 0 };
  for (let failures = 0; ; failures += 1) {
    try {
      await readOnce(options, progress);
      return progress.position;
    } catch (error) {
      if (!signal.aborted && error instanceof ServerError && !error.retryable) throw error;
    }
    const ceilingMs = BACKOFF_CEILINGS_MS[Math.min(failures, BACKOFF_CEILINGS_MS.length - 1)] ?? 0;
    await waits.wait(50 + options.random() * ceilingMs, signal);
    if (signal.aborted) return progress.position;
  }
}

async function readOnce(options: ReadOptions, progress: { position: number }): Promise<void> {
  const { run } = options;
  const { skip, count } = run.lease;
  const splitter = new LineSplitter();
  // Lines before `skip` and after `count` belong to siblings of a bisected shard.
  let line = -skip;
  const take = (bytes: Buffer): void => {
    // Earlier lines were seen before the stream broke.
    if (line === progress.position && line < count) {
      progress.position += 1;
      if (run.wants(line)) takeLine(options, line, bytes);
    }
    line += 1;
  };
  for await (const chunk of await options.lines(run.reading.signal)) {
    // Chunk by chunk: a promise for each line would cost as much as the line.
    for (const bytes of splitter.push(chunk)) take(bytes);
    options.onChunk();
    if (progress.position === count) return;
  }
  const last = splitter.end();
  if (last !== null) take(last);
  options.onChunk();
}

function takeLine(options: ReadOptions, position: number, bytes: Buffer): void {
  const { run, memory } = options;
  const { lease } = run;
  const index = run.indexAt(position);
  const read = readerOf(run)(bytes);
  const path = read?.url ?? lease.endpoint ?? DEFAULT_ENDPOINT;
  const customId = read?.customId ?? String(index);
  if (read === null || !path.startsWith('/')) {
    // The control plane has checked every line: this one cannot be sent, and never will be.
    const error = itemError('invalid_request', 'The line is not a request.');
    const header = { i: index, c: customId, ok: false, st: 0, a: 0, ms: 0, r: '', e: error };
    run.undecided -= 1;
    run.settler.add(lineOf(header, new Uint8Array(0)));
    return;
  }
  const history = memory.recall(lease.job_id, index);
  const item: WorkItem = {
    run,
    index,
    customId,
    path,
    body: read.body,
    tokens: 1,
    prefixKey: 0,
    history,
    raced: false,
    doubts: 0,
    answersAtFailure: null,
    call: null,
    cancelDelay: null,
  };
  run.items.add(item);
  options.onItem(item);
}

const readers = new WeakMap<ShardRun, ReturnType<typeof requestLineReader>>();

/** A job's defaults are prepared once for each shard. */
function readerOf(run: ShardRun): ReturnType<typeof requestLineReader> {
  let reader = readers.get(run);
  if (reader === undefined) {
    reader = requestLineReader({ model: run.lease.default_model, members: run.lease.defaults });
    readers.set(run, reader);
  }
  return reader;
}
