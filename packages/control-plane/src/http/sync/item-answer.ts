import { FAILURE_RULES, type SegmentHeader } from '@batch-infer/contracts';
import { DomainError } from '../../errors.js';
import type { EndedItem } from '../../jobs/item-reader.js';
import { errorTypeOf } from '../anthropic/anthropic-problem.js';
import type { Dialect } from '../dialect.js';

/** The end of an item as the answer to a plain request. */
export interface ItemAnswer {
  readonly status: number;
  /** JSON text. */
  readonly body: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

const decoder = new TextDecoder();

/**
 * The engine's own body and status wherever it gave any; where it gave none, or an error in another dialect's words, an
 * error in the words of this one.
 * @throws DomainError `item_not_run`
 */
export function toItemAnswer(item: EndedItem, dialect: Dialect): ItemAnswer {
  if (item.ended === 'never_run') {
    const why = item.status === 'expired' ? 'its time was over' : 'its job was cancelled';
    throw new DomainError('item_not_run', `The request was not run: ${why}. Send it again to run it.`);
  }
  const { header, body } = item;
  const headers = { 'openai-processing-ms': String(header.ms), 'x-batch-infer-attempts': String(header.a) };
  if (header.ok) return { status: 200, body, headers };
  const status = statusOf(header);
  const own = header.st === status && isErrorOf(dialect, body);
  return { status, body: own ? body : encode(errorBody(header, status, dialect)), headers };
}

/** The engine's status; where it has none, or one that speaks of the runner's key and not of the client's, ours. */
function statusOf({ st, e }: SegmentHeader): number {
  if (st >= 400 && e?.code !== 'engine_unauthorized') return st;
  return e?.code === 'item_timeout' ? 504 : 502;
}

function isErrorOf(dialect: Dialect, body: Uint8Array): boolean {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(body));
  } catch {
    return false;
  }
  if (typeof value !== 'object' || value === null || !('error' in value)) return false;
  const { error } = value;
  if (typeof error !== 'object' || error === null || !('message' in error)) return false;
  return dialect === 'openai' || ('type' in value && value.type === 'error');
}

function errorBody(header: SegmentHeader, status: number, dialect: Dialect): object {
  const code = header.e?.code ?? 'engine_error';
  const message = header.e?.message ?? FAILURE_RULES[code].message;
  return dialect === 'anthropic'
    ? { type: 'error', error: { type: errorTypeOf(status), message }, request_id: header.r }
    : { error: { message, type: header.e?.type ?? FAILURE_RULES[code].type, param: null, code } };
}

const encode = (value: object): Uint8Array => Buffer.from(JSON.stringify(value));
