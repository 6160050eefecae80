import type { FileObject, UploadObject, UploadPartObject } from '@batch-infer/contracts/openai';
import type { FileRecord } from '../../ports/records.js';
import type { UploadPartRecord, UploadRecord } from '../../ports/uploads.js';

/** A file as OpenAI's SDKs read it. */
export function toFileObject(file: FileRecord): FileObject {
  return {
    id: file.id,
    object: 'file',
    purpose: file.purpose,
    filename: file.filename,
    bytes: file.bytes,
    created_at: Math.floor(file.createdAtMs / 1_000),
    expires_at: file.expiresAtMs === null ? null : Math.floor(file.expiresAtMs / 1_000),
    status: 'processed',
    status_details: null,
  };
}

/** An upload as OpenAI's SDKs read it; `file` when it is complete. */
export function toUploadObject(upload: UploadRecord, file: FileRecord | null): UploadObject {
  return {
    id: upload.id,
    object: 'upload',
    bytes: upload.bytes,
    created_at: seconds(upload.createdAtMs),
    expires_at: seconds(upload.expiresAtMs),
    filename: upload.filename,
    purpose: upload.purpose,
    status: upload.state,
    file: file === null ? null : toFileObject(file),
  };
}

export const toUploadPart = (part: UploadPartRecord): UploadPartObject => ({
  id: part.id,
  object: 'upload.part',
  created_at: seconds(part.createdAtMs),
  upload_id: part.uploadId,
});

const seconds = (atMs: number): number => Math.floor(atMs / 1_000);
