/**
 * Identifiers: a prefix and 32 lower-case hex digits of a UUIDv7 (RFC 9562), so that ids sort by creation time
 * and are safe in URLs, file names and object keys.
 *
 * One job has three names, one for each dialect; they differ only in the prefix.
 */
export type IdPrefix =
  | 'job'
  | 'file'
  | 'upload'
  | 'part'
  | 'shard'
  | 'seg'
  | 'work'
  | 'key'
  | 'proj'
  | 'req'
  | 'run'
  | 'evt'
  | 'whe';

const SEPARATOR: Partial<Record<IdPrefix, string>> = { file: '-' };

/** A new id of the given kind, e.g. `job_0193…` or `file-0193…`. */
export function newId(prefix: IdPrefix, nowMs: number = Date.now()): string {
  return `${prefix}${SEPARATOR[prefix] ?? '_'}${uuidV7Hex(nowMs)}`;
}

function uuidV7Hex(nowMs: number): string {
  const bytes = new Uint8Array(16);
  globalThis.crypto.getRandomValues(bytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(nowMs / 0x1_0000));
  view.setUint16(4, nowMs % 0x1_0000);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  let hex = '';
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0');
  return hex;
}

const JOB_ALIASES = ['job_', 'batch_', 'msgbatch_'] as const;

/** The ledger's name (`job_…`) of a job named in any dialect; other strings come back unchanged and match nothing. */
export function toJobId(id: string): string {
  for (const alias of JOB_ALIASES) if (id.startsWith(alias)) return `job_${id.slice(alias.length)}`;
  return id;
}

/** OpenAI's name of a job: `batch_…`. */
export const toBatchId = (jobId: string): string => `batch_${jobId.slice('job_'.length)}`;

/** Anthropic's name of a job: `msgbatch_…`. */
export const toMessageBatchId = (jobId: string): string => `msgbatch_${jobId.slice('job_'.length)}`;
