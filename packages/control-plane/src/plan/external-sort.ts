import { BlobWriter } from '../finalize/blob-writer.js';
import { readBytes } from '../jobs/blob-bytes.js';
import type { Blobs } from '../ports/blobs.js';
import { sortRows } from './sort-rows.js';

/** Memory for records, and as much again at most while they are written. */
const MEMORY_BYTES = 32 * 1_024 * 1_024;
const FIRST_BYTES = 256 * 1_024;
/** Key and length stand before each record. */
const HEADER_BYTES = 8;
/** Bytes copied at once to the temporary object. */
const WRITE_BYTES = 256 * 1_024;
const MIN_BLOCK_BYTES = 64 * 1_024;
const MAX_BLOCK_BYTES = 4 * 1_024 * 1_024;
const BATCH_RECORDS = 512;

export interface SortedRecord {
  readonly key: number;
  readonly bytes: Buffer;
}

/** Sorted records in the temporary object, and where reading of them stands. */
interface Run {
  readonly end: number;
  /** Offset of the block that is read next. */
  next: number;
  /** That block, on its way while the one before is used. */
  coming: Promise<Buffer> | null;
  /** Whole records. */
  block: Buffer;
  at: number;
}

/**
 * Sorts records by a number in bounded memory. What does not fit is written as sorted runs to one temporary object and
 * merged from there in large pieces, so that a store is asked few times, whatever the number of records.
 */
export class ExternalSort {
  readonly #blobs: Blobs;
  readonly #memoryBytes: number;
  readonly #writer: BlobWriter;
  readonly #runs: Run[] = [];
  #arena = Buffer.alloc(0);
  #used = 0;
  #keys = new Uint32Array(1_024);
  #starts = new Uint32Array(1_024);
  #count = 0;
  #writtenBytes = 0;

  /** @param params.key key of the temporary object, made when memory does not suffice. */
  constructor(params: { blobs: Blobs; key: string; memoryBytes?: number }) {
    this.#blobs = params.blobs;
    this.#memoryBytes = params.memoryBytes ?? MEMORY_BYTES;
    this.#writer = new BlobWriter(params.blobs, params.key);
  }

  /** Takes a copy of a record. Keys are whole numbers below 2^32; of equal keys the first added comes first. */
  async add(key: number, pieces: readonly (string | Uint8Array)[]): Promise<void> {
    let length = 0;
    for (const piece of pieces) length += typeof piece === 'string' ? Buffer.byteLength(piece) : piece.length;
    const needed = HEADER_BYTES + length;
    if (this.#used > 0 && this.#used + needed > this.#memoryBytes) await this.#spill();
    this.#makeRoom(needed);
    this.#keys[this.#count] = key;
    this.#starts[this.#count] = this.#used;
    this.#count += 1;
    const arena = this.#arena;
    arena.writeUInt32LE(key, this.#used);
    arena.writeUInt32LE(length, this.#used + 4);
    let at = this.#used + HEADER_BYTES;
    for (const piece of pieces) {
      if (typeof piece === 'string') at += arena.write(piece, at);
      else {
        arena.set(piece, at);
        at += piece.length;
      }
    }
    this.#used = at;
  }

  /** Every record by its key, in batches. To be called once, behind the last `add`. */
  async *sorted(): AsyncGenerator<SortedRecord[]> {
    if (this.#runs.length === 0) {
      yield* this.#fromMemory();
      return;
    }
    await this.#spill();
    await this.#writer.finish();
    this.#arena = Buffer.alloc(0);
    yield* this.#merged();
  }

  /** Whether there is a temporary object. */
  get isSpilled(): boolean {
    return this.#runs.length > 0;
  }

  /** Deletes what is in the store; to be called whatever happened. */
  async dispose(): Promise<void> {
    this.#arena = Buffer.alloc(0);
    await this.#writer.abort();
  }

  #makeRoom(bytes: number): void {
    if (this.#used + bytes > this.#arena.length) {
      const grown = Math.min(Math.max(FIRST_BYTES, this.#arena.length * 2), this.#memoryBytes);
      const larger = Buffer.allocUnsafeSlow(Math.max(grown, this.#used + bytes));
      this.#arena.copy(larger, 0, 0, this.#used);
      this.#arena = larger;
    }
    if (this.#count === this.#starts.length) {
      this.#keys = doubled(this.#keys);
      this.#starts = doubled(this.#starts);
    }
  }

  /** Where the records in memory begin, by key. */
  async #sortedStarts(): Promise<Uint32Array> {
    const [keys, starts] = [this.#keys, this.#starts];
    const rows = Uint32Array.from({ length: this.#count }, (_, row) => row);
    await sortRows(rows, (left, right) => (keys[left] ?? 0) - (keys[right] ?? 0) || left - right);
    return rows.map((row) => starts[row] ?? 0);
  }

  async *#fromMemory(): AsyncGenerator<SortedRecord[]> {
    const starts = await this.#sortedStarts();
    for (let from = 0; from < starts.length; from += BATCH_RECORDS) {
      yield Array.from(starts.subarray(from, from + BATCH_RECORDS), (start) => recordAt(this.#arena, start));
    }
  }

  async #spill(): Promise<void> {
    const from = this.#writtenBytes;
    let pieces: Buffer[] = [];
    let bytes = 0;
    const write = async (): Promise<void> => {
      await this.#writer.write(pieces);
      this.#writtenBytes += bytes;
      pieces = [];
      bytes = 0;
    };
    for (const start of await this.#sortedStarts()) {
      const piece = this.#arena.subarray(start, endOfRecord(this.#arena, start));
      pieces.push(piece);
      bytes += piece.length;
      if (bytes >= WRITE_BYTES) await write();
    }
    if (bytes > 0) await write();
    // The arena is filled again.
    await this.#writer.flush();
    const block = Buffer.alloc(0);
    this.#runs.push({ next: from, end: this.#writtenBytes, coming: null, block, at: 0 });
    this.#used = 0;
    this.#count = 0;
  }

  async *#merged(): AsyncGenerator<SortedRecord[]> {
    // Two blocks of each run: one in use, one on its way.
    const share = Math.floor(this.#memoryBytes / (2 * this.#runs.length));
    const blockBytes = Math.max(MIN_BLOCK_BYTES, Math.min(MAX_BLOCK_BYTES, share));
    const open = [...this.#runs];
    await Promise.all(open.map((run) => this.#fill(run, blockBytes)));
    let batch: SortedRecord[] = [];
    while (open.length > 0) {
      const run = smallest(open);
      const record = recordAt(run.block, run.at);
      batch.push(record);
      run.at += HEADER_BYTES + record.bytes.length;
      const isUsedUp = run.at === run.block.length;
      if (isUsedUp || batch.length >= BATCH_RECORDS) {
        // Handed over before more is read: its records hold their blocks.
        yield batch;
        batch = [];
      }
      if (isUsedUp && !(await this.#fill(run, blockBytes))) open.splice(open.indexOf(run), 1);
    }
  }

  /** Makes a run's next block the current one; false at the run's end. */
  async #fill(run: Run, blockBytes: number): Promise<boolean> {
    if (run.next >= run.end) return false;
    let block = await (run.coming ?? this.#read(run, blockBytes));
    let whole = endOfWholeRecords(block);
    if (whole === 0) {
      // A record that is longer than a block.
      block = await this.#read(run, HEADER_BYTES + block.readUInt32LE(4));
      whole = block.length;
    }
    run.block = block.subarray(0, whole);
    run.at = 0;
    run.next += whole;
    run.coming = run.next < run.end ? this.#read(run, blockBytes) : null;
    // Its failure is seen when its turn comes; until then it must not count as unhandled.
    run.coming?.catch(() => undefined);
    return true;
  }

  async #read(run: Run, wanted: number): Promise<Buffer> {
    const length = Math.min(wanted, run.end - run.next);
    const block = await readBytes(this.#blobs, { key: this.#writer.key, offset: run.next, length });
    if (block.length !== length)
      throw new Error('the temporary object of a sort is shorter than it was written');
    return block;
  }
}

function doubled(numbers: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(numbers.length * 2);
  larger.set(numbers);
  return larger;
}

const endOfRecord = (bytes: Buffer, start: number): number =>
  start + HEADER_BYTES + bytes.readUInt32LE(start + 4);

const recordAt = (bytes: Buffer, start: number): SortedRecord => ({
  key: bytes.readUInt32LE(start),
  bytes: bytes.subarray(start + HEADER_BYTES, endOfRecord(bytes, start)),
});

/** Behind the last record of a block that is whole. */
function endOfWholeRecords(block: Buffer): number {
  let end = 0;
  while (end + HEADER_BYTES <= block.length) {
    const next = endOfRecord(block, end);
    if (next > block.length) break;
    end = next;
  }
  return end;
}

/** Few runs: looking at each is cheaper than keeping them in order. Of equal keys the earlier run's comes first. */
function smallest(runs: readonly Run[]): Run {
  let found = runs[0];
  let key = Number.POSITIVE_INFINITY;
  for (const run of runs) {
    const own = run.block.readUInt32LE(run.at);
    if (own >= key) continue;
    key = own;
    found = run;
  }
  if (found === undefined) throw new Error('there is no run to read');
  return found;
}
