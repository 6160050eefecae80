import { isTerminal } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import { LEDGER } from '../tokens.js';
import { type EndedItem, inBatches } from './ended-item.js';
import { ItemReader, type Wanted } from './item-reader.js';

export type ResultsOrder = 'input' | 'completion';

/** An ended item, and in completion order where to go on behind it. */
export interface Result {
  readonly item: EndedItem;
  readonly cursor: string | null;
}

/** What a reader of an unfinished job must know before the first line. */
export interface ResultsHead {
  readonly incomplete: boolean;
  /** In input order: the last index of the gapless run from the start; -1 or `null` when it is empty. */
  readonly lastLine: number | null;
}

interface Reading {
  readonly job: JobRecord;
  readonly wanted: Wanted;
  readonly signal?: AbortSignal;
}

const SEGMENTS_PER_QUERY = 64;
/** Cursors of never-run items, which come last in completion order: `end.<index>`. */
const END = 'end';

/** Streams the ends of a job's items in constant memory, also while the job runs. */
@Injectable()
export class Results {
  readonly #ledger: Ledger;
  readonly #reader: ItemReader;

  constructor(@Inject(LEDGER) ledger: Ledger, @Inject(ItemReader) reader: ItemReader) {
    this.#ledger = ledger;
    this.#reader = reader;
  }

  async head(job: JobRecord, order: ResultsOrder): Promise<ResultsHead> {
    if (isTerminal(job.state)) return { incomplete: false, lastLine: null };
    if (order === 'completion') return { incomplete: true, lastLine: null };
    const last = await this.#reader.endedPrefix(job);
    // Of a job in another order a reader is told, so that it need not have everything sorted to see the first hole.
    return { incomplete: true, lastLine: last < 0 && job.workBlobKey === undefined ? null : last };
  }

  /**
   * Ended items behind `after` (an index in input order, a cursor in completion order), in batches.
   * @throws DomainError `invalid_cursor`, before the first batch
   */
  read(params: {
    job: JobRecord;
    order: ResultsOrder;
    after: string | null;
    wanted: Wanted;
    signal?: AbortSignal;
  }): AsyncGenerator<Result[]> {
    const { job, order, after, wanted, signal } = params;
    const reading = { job, wanted, ...(signal === undefined ? {} : { signal }) };
    return order === 'input'
      ? this.#inInputOrder({ ...reading, fromIndex: parseIndex(after) + 1 })
      : this.#inCompletionOrder(reading, parseCursor(after));
  }

  async *#inInputOrder(reading: Reading & { fromIndex: number }): AsyncGenerator<Result[]> {
    for await (const items of this.#reader.inInputOrder(reading)) {
      if (items.length > 0) yield items.map((item) => ({ item, cursor: null }));
    }
  }

  async *#inCompletionOrder(reading: Reading, after: Cursor): AsyncGenerator<Result[]> {
    const { job, wanted } = reading;
    if (after.endIndex === null && (wanted.succeeded || wanted.failed)) {
      yield* this.#settled(job, after, wanted);
    }
    if (!isTerminal(job.state)) return;
    const neverRun: Wanted = { ...wanted, succeeded: false, failed: false };
    const fromIndex = (after.endIndex ?? -1) + 1;
    for await (const items of this.#reader.inInputOrder({ ...reading, fromIndex, wanted: neverRun })) {
      if (items.length > 0) yield items.map((item) => ({ item, cursor: `${END}.${item.index}` }));
    }
  }

  async *#settled(job: JobRecord, after: Cursor, wanted: Wanted): AsyncGenerator<Result[]> {
    // The cursor's own segment is read again from behind its line.
    let afterSequence = after.sequence - 1;
    for (;;) {
      const segments = await this.#ledger.listSegments({
        jobId: job.id,
        afterSequence,
        limit: SEGMENTS_PER_QUERY,
      });
      for (const segment of segments) {
        const from = segment.sequence === after.sequence ? after.line : -1;
        const { items, release } = await this.#reader.readSegment(segment, job);
        try {
          const asked = items.filter(
            ({ header, line }) => line > from && (header.ok ? wanted.succeeded : wanted.failed),
          );
          for await (const batch of inBatches(asked))
            yield batch.map((item) => ({ item, cursor: `${segment.sequence}.${item.line}` }));
        } finally {
          release();
        }
        afterSequence = segment.sequence;
      }
      if (segments.length < SEGMENTS_PER_QUERY) return;
    }
  }
}

interface Cursor {
  readonly sequence: number;
  readonly line: number;
  readonly endIndex: number | null;
}

function parseIndex(after: string | null): number {
  if (after === null) return -1;
  if (!/^(?:-1|\d{1,9})$/.test(after)) throw invalidCursor('after must be the index of a line, such as 41');
  return Number(after);
}

function parseCursor(after: string | null): Cursor {
  if (after === null) return { sequence: 0, line: -1, endIndex: null };
  const match = /^(\d{1,15}|end)\.(\d{1,9})$/.exec(after);
  if (match === null) throw invalidCursor('after must be the cursor of a line, such as 3.17');
  const position = Number(match[2]);
  if (match[1] === END) return { sequence: 0, line: -1, endIndex: position };
  return { sequence: Number(match[1]), line: position, endIndex: null };
}

const invalidCursor = (message: string): DomainError =>
  new DomainError('invalid_cursor', `${message}.`, { param: 'after' });
