import type { CreateOutcome, IdempotencyClaim } from './ledger.js';

/** A file that comes in parts. Times are epoch milliseconds. */
export interface UploadRecord {
  readonly id: string;
  readonly projectId: string;
  readonly state: UploadState;
  readonly filename: string;
  readonly purpose: string;
  readonly mimeType: string;
  /** What the parts have to add up to. */
  readonly bytes: number;
  /** `expires_after` of the file that comes of it, in seconds. */
  readonly fileExpiresAfterSeconds: number | null;
  /** The file that came of it. */
  readonly fileId: string | null;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export type UploadState = 'pending' | 'completed' | 'cancelled' | 'expired';

export interface UploadPartRecord {
  readonly id: string;
  readonly uploadId: string;
  readonly bytes: number;
  readonly blobKey: string;
  readonly createdAtMs: number;
}

/** The part of the ledger that knows unfinished uploads. */
export interface UploadLedger {
  createUpload(params: {
    upload: UploadRecord;
    idempotency: IdempotencyClaim;
    nowMs: number;
  }): Promise<CreateOutcome<UploadRecord>>;
  getUpload(params: { projectId: string; id: string }): Promise<UploadRecord | null>;
  /**
   * `not_pending`: it was completed or cancelled, or its time is over; `too_much`: all its parts would have more than
   * `maxBytes`; `null`: there is no such upload.
   */
  addUploadPart(params: {
    projectId: string;
    part: UploadPartRecord;
    maxBytes: number;
    idempotency: IdempotencyClaim;
    nowMs: number;
  }): Promise<CreateOutcome<UploadPartRecord> | { outcome: 'not_pending' } | { outcome: 'too_much' } | null>;
  listUploadParts(params: { uploadId: string }): Promise<UploadPartRecord[]>;
  /**
   * Ends a pending upload; its parts are gone, and their blobs are the caller's to delete. `null` for an unknown upload;
   * one that has ended before is left as it is, and has no parts.
   */
  endUpload(params: {
    projectId: string;
    id: string;
    state: 'completed' | 'cancelled';
    fileId: string | null;
    nowMs: number;
  }): Promise<{ upload: UploadRecord; blobKeys: string[] } | null>;
  /** Pending uploads whose time is over become `expired`; the blobs of their parts, for the caller to delete. */
  expireUploads(params: { nowMs: number; limit: number }): Promise<string[]>;
}
