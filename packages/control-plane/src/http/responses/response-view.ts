import { FAILURE_RULES, type SegmentHeader, toResponseId } from '@batch-infer/contracts';
import type { BackgroundResponse } from '../../sync-lane/background-responses.js';
import type { JsonObject } from '../sync/json-object.js';

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
  const body: JsonObject = JSON.parse(decoder.decode(end.body));
  return { ...blank, status: 'completed', completed_at: endedAt, ...body, ...own };
}

const EXPIRED = 'The response could not be made before its time was over. Send the request again.';

/** In the words that OpenAI has for the error of a response; the message is the engine's own where it gave one. */
function errorOf({ e }: SegmentHeader): JsonObject {
  const { type, message } = e ?? FAILURE_RULES.engine_error;
  return { code: type === 'invalid_request_error' ? 'invalid_prompt' : 'server_error', message, type };
}

/** The fields of a response that repeat its request, with OpenAI's own values where nothing was said. */
function asAsked(request: JsonObject): JsonObject {
  const asked = (name: string, otherwise: unknown = null): unknown => request[name] ?? otherwise;
  return {
    incomplete_details: null,
    instructions: asked('instructions'),
    max_output_tokens: asked('max_output_tokens'),
    max_tool_calls: asked('max_tool_calls'),
    metadata: asked('metadata', {}),
    model: asked('model', ''),
    output: [],
    parallel_tool_calls: asked('parallel_tool_calls', true),
    previous_response_id: asked('previous_response_id'),
    prompt: asked('prompt'),
    prompt_cache_key: asked('prompt_cache_key'),
    reasoning: asked('reasoning'),
    safety_identifier: asked('safety_identifier'),
    service_tier: asked('service_tier'),
    store: asked('store', true),
    temperature: asked('temperature'),
    text: asked('text', { format: { type: 'text' } }),
    tool_choice: asked('tool_choice', 'auto'),
    tools: asked('tools', []),
    top_logprobs: asked('top_logprobs'),
    top_p: asked('top_p'),
    truncation: asked('truncation'),
    usage: null,
    user: asked('user'),
  };
}

const seconds = (atMs: number | null): number | null => (atMs === null ? null : Math.floor(atMs / 1_000));
