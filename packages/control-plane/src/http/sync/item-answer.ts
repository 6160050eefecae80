import { itemError, openAiErrorBody, type SegmentHeader } from '@batch-infer/contracts';
import { DomainError } from '../../errors.js';
import type { WholeItem } from '../../jobs/ended-item.js';
import { anthropicErrorBody } from '../anthropic/anthropic-problem.js';
import type { Dialect } from '../dialect.js';

/** The end of an item as the answer to a plain request. */
export interface ItemAnswer {
  readonly status: number;
  /** JSON text. */
  readonly body: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * The engine's own body and status wherever it gave any; where it gave none, or an error in another dialect's words, an
 * error in the words of this one.
 * @throws DomainError `item_not_run`
 */
export function toItemAnswer(item: WholeItem, dialect: Dialect): ItemAnswer {
  if (item.ended === 'never_run') {
    const why = item.status === 'expired' ? 'its time was over' : 'its job was cancelled';
    throw new DomainError('item_not_run', `The request was not run: ${why}. Send it again to run it.`);
  }
  const { header, body } = item;
  const headers = { 'openai-processing-ms': String(header.ms), 'x-batch-infer-attempts': String(header.a) };
  if (header.ok) return { status: 200, body, headers };
  const status = statusOf(header);
  const failure = header.e ?? itemError('engine_error');
  // What an engine says of the runner's key is not for clients.
  const own = header.st === status ? body : NOTHING;
  const told =
    dialect === 'anthropic'
      ? anthropicErrorBody({ body: own, status, message: failure.message, requestId: header.r })
      : openAiErrorBody(own, failure);
  return { status, body: typeof told === 'string' ? Buffer.from(told) : told, headers };
}

const NOTHING = new Uint8Array(0);

/** The engine's status; where it has none, or one that speaks of the runner's key and not of the client's, ours. */
function statusOf({ st, e }: SegmentHeader): number {
  if (st >= 400 && e?.code !== 'engine_unauthorized') return st;
  return e?.code === 'item_timeout' ? 504 : 502;
}
