import {
  FAILURE_RULES,
  type FailureCode,
  itemError,
  openAiErrorBody,
  toSingleLine,
} from '@batch-infer/contracts';
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
    return {
      file: 'error',
      pieces: [response, openAiErrorBody(body, header.e ?? itemError('engine_error')), '},"error":null}\n'],
    };
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
