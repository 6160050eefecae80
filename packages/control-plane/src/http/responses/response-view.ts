import { FAILURE_RULES, parseExactJson, type SegmentHeader, toResponseId } from '@batch-infer/contracts';
import type { JobRecord } from '../../ports/records.js';
import type { BackgroundResponse } from '../../sync-lane/background-responses.js';
import type { JsonObject } from '../sync/json-object.js';
import { asAsked, wholeResponse } from './whole-response.js';

const decoder = new TextDecoder();

/**
 * A background response as OpenAI's SDKs read it. With an answer it is the engine's own body under our id; what the
 * body leaves out is as it was asked for.
 */
export function toResponse(response: BackgroundResponse): JsonObject {
  const { job, request, end } = response;
  const own = {
    id: toResponseId(job.id),
    object: 'response',
    // The engine's time is that of its start: a response does not grow younger.
    created_at: seconds(job.createdAtMs),
    background: true,
  };
  const blank = { ...own, status: null, completed_at: null, error: null, ...asAsked(request) };
  const endedAt = seconds(job.finalizingAtMs ?? job.finishedAtMs);
  if (end === null) return { ...blank, status: job.startedAtMs === null ? 'queued' : 'in_progress' };
  if (end.ended === 'never_run') {
    return end.status === 'cancelled'
      ? { ...blank, status: 'cancelled' }
      : { ...blank, status: 'failed', error: { code: 'server_error', message: EXPIRED } };
  }
  if (!end.header.ok) return { ...blank, status: 'failed', error: errorOf(end.header) };
  const body = responseIn(end.body);
  return { ...wholeResponse(body, request, { ...own, status: 'completed', completed_at: endedAt }), ...own };
}

/**
 * The answer of a plain request of `/v1/responses`: the engine's bytes where it left nothing out, else its body with what
 * it left out. Its id is its own.
 * @param request JSON text of what was asked for
 */
export function toPlainResponse(job: JobRecord, request: Buffer, answer: Uint8Array): Uint8Array {
  const asked = responseIn(request);
  const own = {
    id: toResponseId(job.id),
    object: 'response',
    created_at: seconds(job.createdAtMs),
    background: false,
  };
  const body = responseIn(answer);
  // What is no response is told as it came.
  if (!Array.isArray(body.output)) return answer;
  const whole = wholeResponse(body, asked, own);
  return whole === body ? answer : Buffer.from(JSON.stringify(whole));
}

const responseIn = (text: Uint8Array): JsonObject => parseExactJson(decoder.decode(text)) as JsonObject;

const EXPIRED = 'The response could not be made before its time was over. Send the request again.';

/** In the words that OpenAI has for the error of a response; the message is the engine's own where it gave one. */
function errorOf({ e }: SegmentHeader): JsonObject {
  const { type, message } = e ?? FAILURE_RULES.engine_error;
  return { code: type === 'invalid_request_error' ? 'invalid_prompt' : 'server_error', message, type };
}

const seconds = (atMs: number | null): number | null => (atMs === null ? null : Math.floor(atMs / 1_000));
