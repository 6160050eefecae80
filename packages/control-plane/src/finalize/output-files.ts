import { newId, openAiLine, timeOfId } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import { fileBlobKey } from '../files/files.js';
import { recordObjects } from '../files/record-objects.js';
import { EVERYTHING, ItemReader, neverRunStatusOf } from '../jobs/item-reader.js';
import { isInMemory, StoredBody } from '../jobs/stored-body.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import { isOfLane } from '../ports/lanes.js';
import type { FileRecord, JobRecord } from '../ports/records.js';
import { BLOBS, CLOCK, CONFIG } from '../tokens.js';
import { BlobWriter } from './blob-writer.js';
import { IdTableWriter } from './id-table.js';

/** What a job ends with: stored, but of no row yet. */
export interface JobOutput {
  readonly outputFile: FileRecord | null;
  readonly errorFile: FileRecord | null;
  /** The ids of items that were never run. */
  readonly idsBlobKey: string | null;
  /** Items that were never run, by what they count as. */
  readonly cancelled: number;
  readonly expired: number;
}

interface WrittenFile {
  readonly id: string;
  readonly writer: BlobWriter;
}

/** The output and error files of jobs: how they are written and named, and how long they stay. */
@Injectable()
export class OutputFiles {
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #config: Pick<ControlPlaneConfig, 'outputRetentionMs'>;
  readonly #reader: ItemReader;

  constructor(
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: Pick<ControlPlaneConfig, 'outputRetentionMs'>,
    @Inject(ItemReader) reader: ItemReader,
  ) {
    this.#blobs = blobs;
    this.#clock = clock;
    this.#config = config;
    this.#reader = reader;
  }

  /**
   * Merges a job's segments into an output file (items that succeeded) and an error file (all others), both in input
   * order. Nothing stays when it throws.
   * @param params.onProgress called every few items; what it throws ends the work
   */
  async write(params: { job: JobRecord; onProgress: () => Promise<void> }): Promise<JobOutput> {
    const { job } = params;
    const output = this.#begin(job);
    const errors = this.#begin(job);
    const ids = new IdTableWriter(this.#blobs, job.projectId);
    try {
      return await this.#write({ ...params, output, errors, ids });
    } catch (error) {
      await Promise.allSettled([output.writer.abort(), errors.writer.abort(), ids.abort()]);
      throw error;
    }
  }

  /** `record` is the transaction in which the job ends with this output; false when it did not. */
  async record(output: JobOutput, record: () => Promise<boolean>): Promise<boolean> {
    const keys = [output.outputFile?.blobKey, output.errorFile?.blobKey, output.idsBlobKey];
    return await recordObjects({
      blobs: this.#blobs,
      clock: this.#clock,
      keys: keys.filter((key) => typeof key === 'string'),
      storedAtMs: output.outputFile?.createdAtMs ?? output.errorFile?.createdAtMs ?? this.#clock.nowMs(),
      record,
      keeps: (recorded) => recorded,
    });
  }

  async #write(params: {
    job: JobRecord;
    onProgress: () => Promise<void>;
    output: WrittenFile;
    errors: WrittenFile;
    ids: IdTableWriter;
  }): Promise<JobOutput> {
    const { job, output, errors, ids } = params;
    let neverRun = 0;
    const items = this.#reader.inInputOrder({
      job,
      fromIndex: 0,
      wanted: EVERYTHING,
      onNeverRun: (ordinal, ended) => ids.add(ordinal, ended),
    });
    for await (const batch of items) {
      for (const item of batch) {
        if (item.ended === 'never_run') neverRun += 1;
        const line = openAiLine(job.id, item);
        await writeLine((line.file === 'output' ? output : errors).writer, line.pieces, params.onProgress);
      }
      await params.onProgress();
    }
    const nowMs = this.#clock.nowMs();
    const outputEnd = await output.writer.finish();
    const errorEnd = await errors.writer.finish();
    const expired = neverRunStatusOf(job) === 'expired' ? neverRun : 0;
    return {
      outputFile: outputEnd && this.#recordOf({ job, file: output, kind: 'output', ...outputEnd, nowMs }),
      errorFile: errorEnd && this.#recordOf({ job, file: errors, kind: 'error', ...errorEnd, nowMs }),
      idsBlobKey: await ids.finish(),
      cancelled: neverRun - expired,
      expired,
    };
  }

  #begin(job: JobRecord): WrittenFile {
    const id = newId('file', this.#clock.nowMs());
    return { id, writer: new BlobWriter(this.#blobs, fileBlobKey(job.projectId, id)) };
  }

  /** The row of a file that is written; it stays for as long as its job says, or else the server. */
  #recordOf(params: {
    job: JobRecord;
    file: WrittenFile;
    kind: 'output' | 'error';
    bytes: number;
    nowMs: number;
  }): FileRecord {
    const { job, file, kind, bytes, nowMs } = params;
    const keptSeconds = job.options.output_expires_after_seconds;
    const keptMs = keptSeconds === undefined ? this.#config.outputRetentionMs : keptSeconds * 1_000;
    return {
      id: file.id,
      projectId: job.projectId,
      purpose: 'batch_output',
      filename: `batch_${job.id.slice('job_'.length)}_${kind}.jsonl`,
      bytes,
      sha256: null,
      blobKey: file.writer.key,
      summary: null,
      // The answer of a single request is read as its answer: its file is in nobody's list.
      internal: isOfLane(job.options.metadata),
      createdAtMs: timeOfId(file.id) ?? nowMs,
      expiresAtMs: keptMs === null ? null : nowMs + keptMs,
    };
  }
}

async function writeLine(
  writer: BlobWriter,
  pieces: readonly (string | Uint8Array | StoredBody)[],
  onProgress: () => Promise<void>,
): Promise<void> {
  if (isInMemory(pieces)) {
    await writer.write(pieces);
    return;
  }
  for (const piece of pieces) {
    if (!(piece instanceof StoredBody)) {
      await writer.write([piece]);
      continue;
    }
    for await (const bytes of piece.pieces()) {
      await writer.write([bytes]);
      await onProgress();
    }
  }
}
