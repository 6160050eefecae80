import { isTerminal } from '@batch-infer/contracts';
import type { ResultLine as WireResultLine } from '@batch-infer/contracts/native';
import { delay } from './delay.js';
import { ConnectionError } from './errors.js';
import { type HttpClient, type StreamAnswer, translateFailure } from './http/http-client.js';
import { jitteredDelayMs } from './http/retry.js';
import { toItemResult } from './mapping.js';
import { readLines } from './ndjson.js';
import { fetchJob, nextLook, waitForEnd } from './poll.js';
import type { ItemResult, ItemStatus } from './types.js';

/** Says that a job still runs, so that its results are not all there yet. */
const INCOMPLETE_HEADER = 'x-incomplete';
/** The last index before which nothing is missing; -1 or absent when the first item has not ended. */
const LAST_LINE_HEADER = 'x-last-line';
/** How long to wait for more results of a running job before looking again. */
const FOLLOW_INTERVAL_MS = 1000;

export interface ResultsOptions {
  /** `input` (default): by index. `completion`: as items end, each with a `cursor`. */
  readonly order?: 'input' | 'completion';
  /** Goes on behind this index (`input`) or cursor (`completion`). */
  readonly after?: number | string;
  /** Only items that ended so. */
  readonly status?: ItemStatus | readonly ItemStatus[];
  /** `true` (default): while the job runs, waits for more until its end. `false`: only what is there now. */
  readonly follow?: boolean;
  /** Retries, and reopenings of a broken stream without a line between them. Default: the client's. */
  readonly maxRetries?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A result line as the server wrote it, with what is needed to go on behind it. */
export interface RawResultLine {
  /** JSON text without line break. */
  readonly text: string;
  readonly index: number;
  readonly status: ItemStatus;
  readonly cursor: string | null;
}

/**
 * A job's results in constant memory. A connection that breaks is opened again behind the last whole line; a job that
 * still runs is followed to its end.
 */
export async function* streamResults(
  http: HttpClient,
  jobId: string,
  options: ResultsOptions = {},
): AsyncGenerator<ItemResult, void, undefined> {
  for await (const { wire } of wireLines(http, jobId, options)) yield toItemResult(wire);
}

/** The same as raw lines, for copying them. */
export async function* streamResultLines(
  http: HttpClient,
  jobId: string,
  options: ResultsOptions = {},
): AsyncGenerator<RawResultLine, void, undefined> {
  for await (const { text, wire } of wireLines(http, jobId, options)) {
    yield { text, index: wire.index, status: wire.status, cursor: wire.cursor ?? null };
  }
}

interface WireLine {
  readonly text: string;
  readonly wire: WireResultLine;
}

async function* wireLines(
  http: HttpClient,
  jobId: string,
  options: ResultsOptions,
): AsyncGenerator<WireLine, void, undefined> {
  const { follow = true, signal, maxRetries = http.maxRetries } = options;
  const cursor = new ReadCursor(options);
  // In input order with a filter a hole cannot be seen, so nothing is read before the job has ended.
  if (follow && cursor.order === 'input' && options.status !== undefined) {
    await waitForEnd(http, jobId, { signal, maxRetries });
  }
  let brokenStreams = 0;
  for (;;) {
    let incomplete = false;
    const before = cursor.after;
    try {
      const answer = await open(http, jobId, cursor, { maxRetries, signal });
      incomplete = answer.headers.get(INCOMPLETE_HEADER) === 'true';
      const wanted = await unlessCaughtUp(answer, cursor, follow);
      for await (const line of parsedLines(wanted, { signal, baseUrl: http.baseUrl })) {
        if (incomplete && cursor.isHole(line.wire)) break;
        cursor.advance(line.wire);
        yield line;
      }
      if (!incomplete || !follow) return;
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      brokenStreams = cursor.after === before ? brokenStreams + 1 : 1;
      if (brokenStreams > maxRetries || !http.budget.take()) throw error;
      await delay(jitteredDelayMs(brokenStreams, Math.random), signal);
      continue;
    }
    brokenStreams = 0;
    await waitForMore(http, jobId, { maxRetries, signal });
  }
}

/** Nothing to read when the next item has not ended: the server would put all others in order in vain. */
async function unlessCaughtUp(
  answer: StreamAnswer,
  cursor: ReadCursor,
  follow: boolean,
): Promise<StreamAnswer> {
  const incomplete = answer.headers.get(INCOMPLETE_HEADER) === 'true';
  if (!incomplete || !follow || !cursor.isCaughtUp(answer.headers)) return answer;
  await answer.body.cancel();
  return { ...answer, body: new Blob([]).stream() };
}

/** Where reading stands, so that it can go on there. */
class ReadCursor {
  readonly order: 'input' | 'completion';
  readonly status: string | undefined;
  after: number | string | undefined;
  /** The next index, where every index is expected. */
  #nextIndex: number | undefined;

  constructor(options: ResultsOptions) {
    this.order = options.order ?? 'input';
    this.after = options.after;
    this.status = options.status === undefined ? undefined : [options.status].flat().join(',');
    if (this.order === 'input' && options.status === undefined)
      this.#nextIndex = Number(this.after ?? -1) + 1;
  }

  /** True when the server says that the next item has not ended yet. */
  isCaughtUp(headers: Headers): boolean {
    const lastLine = headers.get(LAST_LINE_HEADER);
    return lastLine !== null && this.#nextIndex !== undefined && Number(lastLine) < this.#nextIndex;
  }

  /** True when items before this one have not ended yet: reading stops here and comes back. */
  isHole(wire: WireResultLine): boolean {
    return this.#nextIndex !== undefined && wire.index > this.#nextIndex;
  }

  advance(wire: WireResultLine): void {
    this.after = this.order === 'input' ? wire.index : (wire.cursor ?? this.after);
    if (this.#nextIndex !== undefined) this.#nextIndex = wire.index + 1;
  }
}

async function open(
  http: HttpClient,
  jobId: string,
  { order, after, status }: ReadCursor,
  options: { maxRetries: number; signal: AbortSignal | undefined },
): Promise<StreamAnswer> {
  const path = `/v1/jobs/${encodeURIComponent(jobId)}/results`;
  return await http.stream({ method: 'GET', path, query: { order, after, status }, options });
}

async function* parsedLines(
  answer: StreamAnswer,
  context: { signal: AbortSignal | undefined; baseUrl: string },
): AsyncGenerator<WireLine, void, undefined> {
  const lines = readLines(answer);
  try {
    for (;;) {
      // Only reading is guarded: what the consumer throws is not a broken connection.
      const next = await lines.next().catch((error: unknown) => {
        throw translateFailure(error, { ...context, watchdog: answer.watchdog });
      });
      if (next.done) return;
      yield { text: next.value, wire: JSON.parse(next.value) as WireResultLine };
    }
  } finally {
    await lines.return();
  }
}

async function waitForMore(
  http: HttpClient,
  jobId: string,
  options: { maxRetries: number; signal: AbortSignal | undefined },
): Promise<void> {
  const job = await fetchJob(http, jobId, options);
  if (!isTerminal(job.status)) await nextLook(http, job, { ...options, holdMs: FOLLOW_INTERVAL_MS });
}
