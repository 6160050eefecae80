import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { LIMITS, newId } from '@batch-infer/contracts';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import { type CreateAttempt, fingerprintOf } from '../ingest/fingerprint.js';
import { Ingest } from '../ingest/ingest.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { FileRecord } from '../ports/records.js';
import type { UploadPartRecord, UploadRecord } from '../ports/uploads.js';
import { BLOBS, CLOCK, LEDGER } from '../tokens.js';
import { Files, keyReused, shownId } from './files.js';
import { dropObjects, dropUnlessDone, recordObjects } from './record-objects.js';

/** What an upload is to become. */
export interface UploadPlan {
  readonly filename: string;
  readonly purpose: string;
  readonly mimeType: string;
  /** What its parts have to add up to. */
  readonly bytes: number;
  readonly fileExpiresAfterSeconds: number | null;
}

/** Bytes of a part that are stored, but belong to no row yet. */
export interface SpooledPart {
  readonly id: string;
  readonly blobKey: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly storedAtMs: number;
}

/** Files that come in parts, which may come in parallel and out of order. */
@Injectable()
export class Uploads {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #ingest: Ingest;
  readonly #files: Files;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(CLOCK) clock: Clock,
    @Inject(Ingest) ingest: Ingest,
    @Inject(Files) files: Files,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#ingest = ingest;
    this.#files = files;
  }

  /** @throws DomainError `idempotency_key_reused` */
  async create(params: {
    plan: UploadPlan;
    attempt: CreateAttempt;
  }): Promise<{ upload: UploadRecord; replayed: boolean }> {
    const { plan, attempt } = params;
    const nowMs = this.#clock.nowMs();
    const upload: UploadRecord = {
      ...plan,
      id: newId('upload', nowMs),
      projectId: attempt.projectId,
      state: 'pending',
      fileId: null,
      createdAtMs: nowMs,
      expiresAtMs: nowMs + LIMITS.uploadTtlMs,
    };
    const idempotency = { ...attempt, fingerprint: fingerprintOf(plan) };
    const created = await this.#ledger.createUpload({ upload, idempotency, nowMs });
    if (created.outcome === 'conflict') throw keyReused();
    return { upload: created.record, replayed: created.outcome === 'replayed' };
  }

  /** Stores a part while it arrives; `addPart` makes it one, `discardPart` undoes it. @throws DomainError `file_too_large` */
  async spoolPart(params: { projectId: string; uploadId: string; source: Readable }): Promise<SpooledPart> {
    const { projectId, uploadId, source } = params;
    const id = newId('part', this.#clock.nowMs());
    const blobKey = `${projectId}/uploads/${uploadId}/${id}`;
    const received = await this.#ingest.receiveBytes({
      source,
      blobKey,
      maxBytes: LIMITS.uploadPartBytes,
      what: 'part',
    });
    return { ...received, id, blobKey, storedAtMs: this.#clock.nowMs() };
  }

  async discardPart(part: SpooledPart): Promise<void> {
    await dropObjects(this.#blobs, [part.blobKey]);
  }

  /** @throws DomainError `not_found`, `upload_not_pending`, `file_too_large`; then the part is deleted */
  async addPart(params: {
    uploadId: string;
    spooled: SpooledPart;
    attempt: CreateAttempt;
    signal: AbortSignal;
  }): Promise<{ part: UploadPartRecord; replayed: boolean }> {
    const { uploadId, spooled, attempt, signal } = params;
    const { sha256, storedAtMs, ...stored } = spooled;
    const upload = await dropUnlessDone(this.#blobs, [spooled.blobKey], () =>
      this.get(attempt.projectId, uploadId),
    );
    const nowMs = this.#clock.nowMs();
    const added = await recordObjects({
      blobs: this.#blobs,
      clock: this.#clock,
      keys: [spooled.blobKey],
      storedAtMs,
      signal,
      record: () =>
        this.#ledger.addUploadPart({
          projectId: attempt.projectId,
          part: { ...stored, uploadId, createdAtMs: nowMs },
          // A part may have been sent twice, because its answer was lost; what goes on for ever is refused.
          maxBytes: 2 * upload.bytes + LIMITS.uploadPartBytes,
          idempotency: { ...attempt, fingerprint: sha256 },
          nowMs,
        }),
      keeps: (answer) => answer?.outcome === 'created',
    });
    if (added === null) throw notFound(uploadId);
    if (added.outcome === 'conflict') throw keyReused();
    if (added.outcome === 'not_pending') throw notPending(await this.get(attempt.projectId, uploadId));
    if (added.outcome === 'too_much') {
      throw new DomainError(
        'file_too_large',
        `The parts of upload ${uploadId} have far more than its ${upload.bytes} bytes. Cancel it, and begin again.`,
      );
    }
    return { part: added.record, replayed: added.outcome === 'replayed' };
  }

  /**
   * Puts the parts together, in this order, into a file that is judged like any other.
   * @throws DomainError `not_found`, `upload_not_pending`, `invalid_parameter` (unknown parts, another length or MD5),
   * `invalid_file`
   */
  async complete(params: {
    projectId: string;
    id: string;
    partIds: readonly string[];
    /** Hex. */
    md5: string | null;
    signal: AbortSignal;
  }): Promise<{ upload: UploadRecord; file: FileRecord }> {
    const { projectId, id, partIds, md5, signal } = params;
    const upload = await this.get(projectId, id);
    if (upload.state === 'completed' && upload.fileId !== null) {
      // The answer to the first attempt was lost.
      return { upload, file: await this.#files.get(projectId, upload.fileId) };
    }
    this.#assertPending(upload);
    const parts = orderedParts(upload, await this.#ledger.listUploadParts({ uploadId: id }), partIds);
    const hash = createHash('md5');
    const source = Readable.from(this.#bytesOf(parts, hash), { objectMode: false });
    const spooled = await this.#files.spool({ projectId, source, filename: upload.filename });
    if (md5 !== null && hash.digest('hex') !== md5.toLowerCase()) {
      await this.#files.discard(spooled);
      throw new DomainError('invalid_parameter', 'md5 is not that of the parts put together.', {
        param: 'md5',
      });
    }
    const { file } = await this.#files.commit({
      spooled,
      options: { purpose: upload.purpose, expiresAfterSeconds: upload.fileExpiresAfterSeconds },
      // A process that dies here leaves a file that the next attempt finds.
      attempt: { projectId, route: 'POST /v1/uploads/{id}/complete', key: id, isRetry: false },
      signal,
    });
    const ended = await this.#end(upload, 'completed', file.id);
    if (ended.fileId === file.id) return { upload: ended, file };
    await this.#files.delete(projectId, file.id);
    throw notPending(ended);
  }

  /** Idempotent. @throws DomainError `not_found`, `upload_not_pending` */
  async cancel(projectId: string, id: string): Promise<UploadRecord> {
    const upload = await this.get(projectId, id);
    if (upload.state === 'cancelled') return upload;
    this.#assertPending(upload);
    const ended = await this.#end(upload, 'cancelled', null);
    if (ended.state !== 'cancelled') throw notPending(ended);
    return ended;
  }

  /** @throws DomainError `not_found` */
  async get(projectId: string, id: string): Promise<UploadRecord> {
    const upload = await this.#ledger.getUpload({ projectId, id });
    if (upload === null) throw notFound(id);
    return upload;
  }

  async #end(
    upload: UploadRecord,
    state: 'completed' | 'cancelled',
    fileId: string | null,
  ): Promise<UploadRecord> {
    const { projectId, id } = upload;
    const ended = await this.#ledger.endUpload({
      projectId,
      id,
      state,
      fileId,
      nowMs: this.#clock.nowMs(),
    });
    if (ended === null) throw notFound(id);
    await dropObjects(this.#blobs, ended.blobKeys);
    return ended.upload;
  }

  async *#bytesOf(
    parts: readonly UploadPartRecord[],
    hash: { update(chunk: Buffer): unknown },
  ): AsyncGenerator<Buffer> {
    for (const { blobKey } of parts) {
      for await (const chunk of await this.#blobs.get({ key: blobKey })) {
        hash.update(chunk as Buffer);
        yield chunk as Buffer;
      }
    }
  }

  #assertPending(upload: UploadRecord): void {
    if (upload.state === 'pending' && upload.expiresAtMs > this.#clock.nowMs()) return;
    throw notPending(upload);
  }
}

function orderedParts(
  upload: UploadRecord,
  stored: readonly UploadPartRecord[],
  partIds: readonly string[],
): UploadPartRecord[] {
  const refuse = (message: string): never => {
    throw new DomainError('invalid_parameter', message, { param: 'part_ids' });
  };
  if (new Set(partIds).size !== partIds.length) refuse('part_ids names a part twice.');
  const byId = new Map(stored.map((part) => [part.id, part]));
  const parts = partIds.map(
    (id) => byId.get(id) ?? refuse(`part_ids: upload ${upload.id} has no part ${shownId(id)}.`),
  );
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  if (bytes !== upload.bytes)
    refuse(`The parts have ${bytes} bytes together, but the upload was begun with bytes = ${upload.bytes}.`);
  return parts;
}

const notFound = (id: string): DomainError =>
  new DomainError('not_found', `No upload has the id ${shownId(id)}.`, { param: 'upload_id' });

const notPending = ({ id, state }: UploadRecord): DomainError =>
  new DomainError(
    'upload_not_pending',
    state === 'completed'
      ? `Upload ${id} is completed: its file has all of its parts. Begin a new upload for other bytes.`
      : `Upload ${id} is ${state === 'pending' ? 'expired' : state}. Begin a new one.`,
  );
