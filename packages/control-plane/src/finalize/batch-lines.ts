import { FAILURE_RULES, type FailureCode, type SegmentHeader, toSingleLine } from '@batch-infer/contracts';
import type { EndedItem } from '../jobs/item-reader.js';

/**
 * Lines of OpenAI's output and error files. Pure, and the same for the same job whenever it is finalized (I11): ids
 * come from the job's id and the item's index.
 */
export interface BatchLine {
  readonly file: 'output' | 'error';
  /** Pieces of the line, line feed included; engine bodies pass through as bytes. */
  readonly pieces: readonly (string | Uint8Array)[];
}

export function toBatchLine(jobId: string, item: EndedItem): BatchLine {
  const head = (customId: string): string =>
    `{"id":"${requestIdOf(jobId, item.index)}","custom_id":${toSingleLine(JSON.stringify(customId))},"response":`;
  if (item.ended === 'never_run') {
    const code: FailureCode = item.status === 'expired' ? 'job_expired' : 'job_cancelled';
    const { type, message } = FAILURE_RULES[code];
    return {
      file: 'error',
      pieces: [`${head(item.customId)}null,"error":${JSON.stringify({ code: type, message })}}\n`],
    };
  }
  const { header, body } = item;
  const response = `${head(header.c)}{"status_code":${header.st},"request_id":${JSON.stringify(header.r)},"body":`;
  if (header.ok) return { file: 'output', pieces: [response, body, '},"error":null}\n'] };
  if (header.st >= 400) {
    return { file: 'error', pieces: [response, errorBody(header, body), '},"error":null}\n'] };
  }
  const error = {
    code: header.e?.code ?? 'engine_error',
    message: header.e?.message ?? FAILURE_RULES.engine_error.message,
  };
  return {
    file: 'error',
    pieces: [`${head(header.c)}null,"error":${toSingleLine(JSON.stringify(error))}}\n`],
  };
}

/** `batch_req_` with the job's own digits and the item's index. */
const requestIdOf = (jobId: string, index: number): string =>
  `batch_req_${jobId.slice(jobId.indexOf('_') + 1)}${index.toString(16).padStart(8, '0')}`;

/** The engine's own error body when it has OpenAI's shape; else our words in that shape. */
function errorBody(header: SegmentHeader, body: Uint8Array): Uint8Array | string {
  try {
    const parsed = JSON.parse(Buffer.from(body).toString('utf8')) as { error?: unknown } | null;
    if (typeof parsed === 'object' && typeof parsed?.error === 'object' && parsed.error !== null) return body;
  } catch {
    // Not JSON: an error page, or nothing.
  }
  const failure = header.e ?? { code: 'engine_error', ...FAILURE_RULES.engine_error };
  const error = { message: failure.message, type: failure.type, param: null, code: failure.code };
  return toSingleLine(JSON.stringify({ error }));
}
