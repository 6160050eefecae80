import { FAILURE_RULES, type FailureCode, type SegmentHeader, toSingleLine } from '@batch-infer/contracts';
import type { AnthropicErrorType } from '@batch-infer/contracts/anthropic';
import type { EndedItem } from '../../jobs/ended-item.js';
import type { Result } from '../../jobs/results.js';
import type { StoredBody } from '../../jobs/stored-body.js';
import { toChunks } from '../result-chunks.js';

/** Batches of results as JSONL bytes of Anthropic's API; messages pass through untouched. */
export const toMessageResultLines = (batches: AsyncIterable<readonly Result[]>): AsyncGenerator<Buffer> =>
  toChunks(batches, ({ item }) => piecesOf(item));

function piecesOf(item: EndedItem): (string | Uint8Array | StoredBody)[] {
  const head = (customId: string): string => `{"custom_id":${safeJson(customId)},"result":`;
  if (item.ended === 'never_run') {
    const type = item.status === 'expired' ? 'expired' : 'canceled';
    return [`${head(item.customId)}{"type":"${type}"}}\n`];
  }
  const { header, body } = item;
  if (header.ok) return [`${head(header.c)}{"type":"succeeded","message":`, body, '}}\n'];
  return [`${head(header.c)}{"type":"errored","error":${safeJson(errorOf(header))}}}\n`];
}

/** Engines have type names of their own: only Anthropic's are shown, with the engine's words. */
function errorOf(header: SegmentHeader): object {
  const code = header.e?.code ?? 'engine_error';
  const message = header.e?.message ?? FAILURE_RULES.engine_error.message;
  return { type: 'error', error: { type: ERROR_TYPES[code], message }, request_id: header.r };
}

const ERROR_TYPES: Readonly<Record<FailureCode, AnthropicErrorType>> = {
  invalid_request: 'invalid_request_error',
  context_length_exceeded: 'invalid_request_error',
  model_not_found: 'not_found_error',
  // The runner's key is not the client's.
  engine_unauthorized: 'api_error',
  unsupported_endpoint: 'invalid_request_error',
  engine_error: 'api_error',
  engine_unreachable: 'api_error',
  connection_lost: 'api_error',
  item_timeout: 'timeout_error',
  invalid_response: 'api_error',
  answer_too_large: 'invalid_request_error',
  engine_aborted: 'api_error',
  engine_overloaded: 'overloaded_error',
  worker_lost: 'api_error',
  job_cancelled: 'api_error',
  job_expired: 'api_error',
};

const safeJson = (value: unknown): string => toSingleLine(JSON.stringify(value));
