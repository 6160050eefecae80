import type { Endpoint } from '@batch-infer/contracts';
import { KEEP_ALIVE, toEvent } from '../events/server-sent-events.js';
import { type JsonObject, listOf } from './json-object.js';
import { toMessageEvents } from './message-events.js';
import { toResponseError, toResponseEvents } from './response-events.js';

/** How an endpoint's answer is told as a stream. It comes at once when it is whole: nothing of it is faked. */
export interface StreamDialect {
  /** Sent while there is no answer. */
  readonly keepAlive: string;
  /** The events of a whole answer. */
  events(body: JsonObject, options: { readonly includeUsage: boolean }): string[];
  /** An error that comes when the stream has begun; `body` is the error body of a plain answer. */
  error(body: unknown): string;
}

const DONE = toEvent({ data: '[DONE]' });

/** @param before what comes before the chunk that has everything */
const openAi = (
  toChunk: (body: JsonObject) => JsonObject,
  before: (chunk: JsonObject) => JsonObject[] = () => [],
): StreamDialect => ({
  keepAlive: KEEP_ALIVE,
  events: (body, { includeUsage }) => {
    const { usage = null, ...chunk } = toChunk(body);
    const event = (value: object) => toEvent({ data: JSON.stringify(value) });
    const first = before(chunk).map((one) => event({ ...one, usage: null }));
    // Asked for, the usage stands in a chunk of its own that has no choices.
    const rest = includeUsage
      ? [event({ ...chunk, usage: null }), event({ ...chunk, choices: [], usage })]
      : [event({ ...chunk, usage })];
    return [...first, ...rest, DONE];
  },
  error: (body) => toEvent({ data: JSON.stringify(errorOf(body)) }) + DONE,
});

/** Beside OpenAI's `error` object, a problem says much that no stream reader looks for. */
const errorOf = (body: unknown): unknown =>
  typeof body === 'object' && body !== null && 'error' in body ? { error: body.error } : body;

function toChatChunk(body: JsonObject): JsonObject {
  const choices = listOf(body.choices).map(({ message, ...choice }) => {
    const { tool_calls: calls, ...delta } = (message ?? {}) as JsonObject;
    const numbered = listOf(calls).map((call, index) => ({ index, ...call }));
    return { ...choice, delta: numbered.length === 0 ? delta : { ...delta, tool_calls: numbered } };
  });
  return { ...body, object: 'chat.completion.chunk', choices };
}

/** Some SDKs (openai-node 6) count log probabilities twice that come with the first chunk of a choice. */
function beginningOf(chunk: JsonObject): JsonObject[] {
  const choices = listOf(chunk.choices);
  if (!choices.some(({ logprobs }) => (logprobs ?? null) !== null)) return [];
  const begun = choices.map(({ index }) => ({ index, delta: { role: 'assistant' }, finish_reason: null }));
  return [{ ...chunk, choices: begun }];
}

/** Endpoints whose answers can be streamed. */
export const STREAMS: Partial<Record<Endpoint, StreamDialect>> = {
  '/v1/chat/completions': openAi(toChatChunk, beginningOf),
  '/v1/completions': openAi((body) => body),
  '/v1/messages': {
    keepAlive: toEvent({ name: 'ping', data: '{"type": "ping"}' }),
    events: toMessageEvents,
    error: (body) => toEvent({ name: 'error', data: JSON.stringify(body) }),
  },
  '/v1/responses': { keepAlive: KEEP_ALIVE, events: toResponseEvents, error: toResponseError },
};
