import { newId } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import { fileBlobKey } from '../files/files.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { FileRecord, JobRecord } from '../ports/records.js';
import { BLOBS, CLOCK, CONFIG } from '../tokens.js';
import { BlobWriter } from './blob-writer.js';

/** A file of a job while it is written. */
export interface WrittenFile {
  readonly id: string;
  readonly writer: BlobWriter;
}

/** The output and error files of jobs: how they are named, and how long they stay. */
@Injectable()
export class OutputFiles {
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #config: Pick<ControlPlaneConfig, 'outputRetentionMs'>;

  constructor(
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: Pick<ControlPlaneConfig, 'outputRetentionMs'>,
  ) {
    this.#blobs = blobs;
    this.#clock = clock;
    this.#config = config;
  }

  begin(job: JobRecord): WrittenFile {
    const id = newId('file', this.#clock.nowMs());
    return { id, writer: new BlobWriter(this.#blobs, fileBlobKey(job.projectId, id)) };
  }

  /** The row of a file that is written; it stays for as long as its job says, or else the server. */
  recordOf(params: {
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
      internal: false,
      createdAtMs: nowMs,
      expiresAtMs: keptMs === null ? null : nowMs + keptMs,
    };
  }
}
