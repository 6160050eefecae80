import type { Readable } from 'node:stream';
import { LIMITS, newId, timeOfId } from '@batch-infer/contracts';
import { JsonlScanner } from '@batch-infer/contracts/jsonl';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import { DomainError } from '../errors.js';
import { type CreateAttempt, fingerprintOf } from '../ingest/fingerprint.js';
import { assertGoodInput, Ingest, type ReceivedInput } from '../ingest/ingest.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { FileRecord } from '../ports/records.js';
import { BLOBS, CLOCK, CONFIG, LEDGER } from '../tokens.js';
import { dropObjects, dropUnlessDone, recordObjects } from './record-objects.js';

/** Purpose of inputs of batches: the only one whose lines are judged at upload. */
export const BATCH_PURPOSE = 'batch';

/** Bytes that are stored, but belong to no row yet. */
export interface SpooledFile extends ReceivedInput {
  readonly id: string;
  readonly blobKey: string;
  readonly filename: string;
  readonly storedAtMs: number;
}

export interface FileOptions {
  readonly purpose: string;
  readonly expiresAfterSeconds: number | null;
}

/** Uploaded and produced files of a project. */
@Injectable()
export class Files {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #ingest: Ingest;
  readonly #config: ControlPlaneConfig;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(Ingest) ingest: Ingest,
    @Inject(CONFIG) config: ControlPlaneConfig,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#ingest = ingest;
    this.#config = config;
  }

  /**
   * Stores an upload while it arrives. Nothing shows until `commit`, because the fields that say what it is may come
   * behind it; `discard` undoes it.
   */
  async spool(params: { projectId: string; source: Readable; filename: string }): Promise<SpooledFile> {
    const id = newId('file', this.#clock.nowMs());
    const blobKey = fileBlobKey(params.projectId, id);
    const received = await this.#ingest.receive({
      source: params.source,
      blobKey,
      scanner: new JsonlScanner({ mediaHosts: this.#config.mediaHosts }),
    });
    return { ...received, id, blobKey, filename: params.filename, storedAtMs: this.#clock.nowMs() };
  }

  async discard(spooled: SpooledFile): Promise<void> {
    await dropObjects(this.#blobs, [spooled.blobKey]);
  }

  /**
   * Makes a spooled upload a file; `spooled` is deleted when it does not become one.
   * @throws DomainError `invalid_file`, `empty_file` (purpose `batch` only), `idempotency_key_reused`
   */
  async commit(params: {
    spooled: SpooledFile;
    options: FileOptions;
    attempt: CreateAttempt;
    signal: AbortSignal;
  }): Promise<{ file: FileRecord; replayed: boolean }> {
    const { spooled, options, signal } = params;
    const isInput = options.purpose === BATCH_PURPOSE;
    await dropUnlessDone(this.#blobs, [spooled.blobKey], async () => {
      if (isInput) assertGoodInput(spooled.scan);
    });
    const nowMs = this.#clock.nowMs();
    const file: FileRecord = {
      id: spooled.id,
      projectId: params.attempt.projectId,
      purpose: options.purpose,
      filename: spooled.filename,
      bytes: spooled.bytes,
      sha256: spooled.sha256,
      blobKey: spooled.blobKey,
      summary: isInput ? spooled.scan.summary : null,
      internal: false,
      // That of its id, by which lists go on when the file is gone.
      createdAtMs: timeOfId(spooled.id) ?? nowMs,
      expiresAtMs: options.expiresAfterSeconds === null ? null : nowMs + options.expiresAfterSeconds * 1_000,
    };
    const idempotency = { ...params.attempt, fingerprint: fingerprintOf(spooled.sha256, options) };
    const created = await recordObjects({
      blobs: this.#blobs,
      clock: this.#clock,
      keys: [spooled.blobKey],
      storedAtMs: spooled.storedAtMs,
      signal,
      record: () => this.#ledger.createFile({ file, idempotency, nowMs }),
      keeps: ({ outcome }) => outcome === 'created',
    });
    if (created.outcome === 'conflict') throw keyReused();
    return { file: created.record, replayed: created.outcome === 'replayed' };
  }

  /** @throws DomainError `not_found`: also for files of other projects and for inputs that are no files of their own. */
  async get(projectId: string, id: string): Promise<FileRecord> {
    const file = await this.#ledger.getFile({ projectId, id });
    if (file === null || file.internal)
      throw new DomainError('not_found', `No file has the id ${shownId(id)}.`, { param: 'file_id' });
    return file;
  }

  async list(params: {
    projectId: string;
    purpose?: string;
    order?: 'asc' | 'desc';
    after?: string;
    limit: number;
  }): Promise<{ files: FileRecord[]; hasMore: boolean }> {
    const files = await this.#ledger.listFiles({ ...params, limit: params.limit + 1 });
    return { files: files.slice(0, params.limit), hasMore: files.length > params.limit };
  }

  /** @throws DomainError `not_found`, `file_in_use` */
  async delete(projectId: string, id: string): Promise<void> {
    await this.get(projectId, id);
    const deleted = await this.#ledger.deleteFile({ projectId, id });
    if (deleted.outcome === 'in_use') {
      throw new DomainError(
        'file_in_use',
        `File ${id} is the input of a job that has not ended. Cancel the job or wait for its end, then delete the file.`,
      );
    }
    if (deleted.outcome !== 'deleted') return;
    await dropObjects(this.#blobs, [deleted.blobKey, ...deleted.workBlobKeys]);
  }

  /** Some bytes of a file. */
  async open(file: FileRecord, range: { offset: number; length: number }): Promise<Readable> {
    return await this.#blobs.get({ key: file.blobKey, ...range });
  }
}

export const fileBlobKey = (projectId: string, fileId: string): string => `${projectId}/files/${fileId}`;

/** Inputs that came with their job are no files of their own: a place apart says so in every job's row. */
export const inputBlobKey = (projectId: string, inputId: string): string => `${projectId}/inputs/${inputId}`;
export const isUploadedFile = (blobKey: string): boolean => !blobKey.includes('/inputs/');

export const keyReused = (): DomainError =>
  new DomainError(
    'idempotency_key_reused',
    'This Idempotency-Key came before with another request. Use a new key for a new request.',
    {
      param: 'Idempotency-Key',
    },
  );

/** An id from the outside as a message may show it. */
export const shownId = (id: string): string => JSON.stringify(id.slice(0, 80));

/** A file name that is safe to store and to send back: no folders, no control characters, not too long. */
export function safeFilename(name: string | undefined): string {
  const base = (name ?? '').split(/[/\\]/).at(-1) ?? '';
  const clean = base.replaceAll(/\p{Cc}/gu, '').trim();
  return clean === '' ? 'unknown_file' : clean.slice(0, Math.floor(LIMITS.filenameBytes / 4));
}
