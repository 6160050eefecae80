/**
 * Identifiers: a prefix and 32 lower-case hex digits of a UUIDv7 (RFC 9562), so that ids sort by creation time
 * and are safe in URLs, file names and object keys.
 *
 * One job has a name in each dialect, and one as a background response; they differ only in the prefix.
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
  | 'whe'
  | 'whd';

const SEPARATOR: Partial<Record<IdPrefix, string>> = { file: '-' };

/** A new id of the given kind, e.g. `job_0193…` or `file-0193…`. */
export function newId(prefix: IdPrefix, nowMs: number = Date.now()): string {
  return `${prefix}${SEPARATOR[prefix] ?? '_'}${uuidV7Hex(nowMs)}`;
}

const RANDOM_BYTES = 10;
const POOL_BYTES = 400 * RANDOM_BYTES;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
/** Random bytes drawn ahead: a draw costs a hundred times what an id needs of it, and each request has one. */
const pool = new Uint8Array(POOL_BYTES);
let poolUsed = POOL_BYTES;

function uuidV7Hex(nowMs: number): string {
  if (poolUsed === POOL_BYTES) {
    globalThis.crypto.getRandomValues(pool);
    poolUsed = 0;
  }
  const random = (index: number): number => pool[poolUsed + index] ?? 0;
  const hex = (byte: number): string => HEX[byte] ?? '';
  let text = Math.floor(nowMs).toString(16).padStart(12, '0');
  text += hex((random(0) & 0x0f) | 0x70) + hex(random(1)) + hex((random(2) & 0x3f) | 0x80);
  for (let index = 3; index < RANDOM_BYTES; index += 1) text += hex(random(index));
  poolUsed += RANDOM_BYTES;
  return text;
}

/** When an id was made, in epoch milliseconds; `null` for what is no id of ours. */
export function timeOfId(id: string): number | null {
  const digits = /[_-]([0-9a-f]{12})7[0-9a-f]{19}$/.exec(id)?.[1];
  return digits === undefined ? null : Number.parseInt(digits, 16);
}

const JOB_ALIASES = ['job_', 'batch_', 'msgbatch_', 'resp_'] as const;

/** The ledger's name (`job_…`) of a job named in any dialect; other strings come back unchanged and match nothing. */
export function toJobId(id: string): string {
  for (const alias of JOB_ALIASES) if (id.startsWith(alias)) return `job_${id.slice(alias.length)}`;
  return id;
}

/** OpenAI's name of a job: `batch_…`. */
export const toBatchId = (jobId: string): string => `batch_${jobId.slice('job_'.length)}`;

/** Anthropic's name of a job: `msgbatch_…`. */
export const toMessageBatchId = (jobId: string): string => `msgbatch_${jobId.slice('job_'.length)}`;

/** OpenAI's name of a job that is a background response: `resp_…`. */
export const toResponseId = (jobId: string): string => `resp_${jobId.slice('job_'.length)}`;
