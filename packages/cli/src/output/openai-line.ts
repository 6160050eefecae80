import type { RawResultLine } from '@batch-infer/sdk';

interface ResultFields {
  readonly custom_id: string;
  readonly response?: unknown;
  readonly error?: { readonly code: string; readonly type: string; readonly message: string };
}

/** A result as a line of OpenAI's batch output files, succeeded and failed ones in one file. */
export function toOpenAiLine(jobId: string, line: RawResultLine): string {
  const fields: ResultFields = JSON.parse(line.text);
  const suffix = `${jobId.slice(jobId.indexOf('_') + 1)}_${line.index}`;
  const head = { id: `batch_req_${suffix}`, custom_id: fields.custom_id };
  if (line.status === 'succeeded') {
    const response = { status_code: 200, request_id: `req_${suffix}`, body: fields.response };
    return JSON.stringify({ ...head, response, error: null });
  }
  const error = { code: fields.error?.code ?? 'unknown', message: fields.error?.message ?? '' };
  return JSON.stringify({ ...head, response: null, error });
}
