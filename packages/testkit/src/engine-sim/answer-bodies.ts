import { createHash } from 'node:crypto';
import type { GenerationRequest } from './generation-request.js';

/** What the engine made of a request. */
export interface Generation {
  readonly text: string;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  readonly finishReason: 'stop' | 'length' | 'abort';
  /** Milliseconds, for `include_metrics`. */
  readonly queueTimeMs: number;
  readonly timeToFirstTokenMs: number;
}

export interface AnswerContext {
  /** Unique part of the response id: the caller's `X-Request-Id`, or a number. */
  readonly id: string;
  /** Unix seconds. */
  readonly createdAt: number;
}

/** The body of a 200, in the shape of its endpoint. */
export function answerBody(
  request: GenerationRequest,
  generation: Generation,
  context: AnswerContext,
): string {
  switch (request.path) {
    case '/v1/chat/completions':
      return JSON.stringify(chatCompletion(request, generation, context));
    case '/v1/completions':
      return JSON.stringify(completion(request, generation, context));
    case '/v1/embeddings':
      return JSON.stringify(embeddings(request, context));
    case '/v1/responses':
      return JSON.stringify(response(request, generation, context));
    case '/v1/messages':
      return JSON.stringify(message(request, generation, context));
  }
}

/** The same answer as server-sent events (chat and text completions): one chunk of text, one end, usage, `[DONE]`. */
export function answerEvents(
  request: GenerationRequest,
  generation: Generation,
  context: AnswerContext,
): string {
  const chat = request.path === '/v1/chat/completions';
  const base = {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-${context.id}`,
    object: chat ? 'chat.completion.chunk' : 'text_completion',
    created: context.createdAt,
    model: request.model,
  };
  const piece = (text: string, finishReason: string | null) =>
    chat
      ? {
          index: 0,
          delta: text === '' ? {} : { role: 'assistant', content: text },
          finish_reason: finishReason,
        }
      : { index: 0, text, finish_reason: finishReason };
  const events: unknown[] = [
    { ...base, choices: [piece(generation.text, null)] },
    { ...base, choices: [piece('', generation.finishReason)] },
  ];
  const options = request.body.stream_options;
  if (
    typeof options === 'object' &&
    options !== null &&
    'include_usage' in options &&
    options.include_usage === true
  ) {
    events.push({ ...base, choices: [], usage: usage(request, generation) });
  }
  return `${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}data: [DONE]\n\n`;
}

function usage(request: GenerationRequest, generation: Generation) {
  return {
    prompt_tokens: request.promptTokens,
    total_tokens: request.promptTokens + generation.outputTokens,
    completion_tokens: generation.outputTokens,
    prompt_tokens_details: { cached_tokens: generation.cachedTokens },
  };
}

function metrics(request: GenerationRequest, generation: Generation) {
  if (request.body.include_metrics !== true) return null;
  return {
    queue_time_ms: generation.queueTimeMs,
    time_to_first_token_ms: generation.timeToFirstTokenMs,
  };
}

function chatCompletion(request: GenerationRequest, generation: Generation, context: AnswerContext) {
  return {
    id: `chatcmpl-${context.id}`,
    object: 'chat.completion',
    created: context.createdAt,
    model: request.model,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: generation.text, refusal: null },
        logprobs: null,
        finish_reason: generation.finishReason,
        stop_reason: null,
      },
    ],
    usage: usage(request, generation),
    metrics: metrics(request, generation),
  };
}

function completion(request: GenerationRequest, generation: Generation, context: AnswerContext) {
  return {
    id: `cmpl-${context.id}`,
    object: 'text_completion',
    created: context.createdAt,
    model: request.model,
    choices: [
      {
        index: 0,
        text: generation.text,
        logprobs: null,
        finish_reason: generation.finishReason,
        stop_reason: null,
      },
    ],
    usage: usage(request, generation),
    metrics: metrics(request, generation),
  };
}

const EMBEDDING_SIZE = 8;

function embeddings(request: GenerationRequest, context: AnswerContext) {
  const { input, encoding_format: format } = request.body;
  const inputs: readonly unknown[] = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input];
  return {
    id: `embd-${context.id}`,
    object: 'list',
    created: context.createdAt,
    model: request.model,
    data: inputs.map((text, index) => {
      const vector = embeddingOf(JSON.stringify(text));
      const embedding = format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector];
      return { index, object: 'embedding', embedding };
    }),
    usage: { prompt_tokens: request.promptTokens, total_tokens: request.promptTokens, completion_tokens: 0 },
  };
}

function embeddingOf(text: string): Float32Array<ArrayBuffer> {
  const digest = createHash('sha1').update(text).digest();
  return Float32Array.from({ length: EMBEDDING_SIZE }, (_, index) => ((digest[index] ?? 0) - 128) / 128);
}

const RESPONSE_STATUS = { stop: 'completed', length: 'incomplete', abort: 'cancelled' } as const;

function response(request: GenerationRequest, generation: Generation, context: AnswerContext) {
  return {
    id: `resp_${context.id}`,
    created_at: context.createdAt,
    object: 'response',
    status: RESPONSE_STATUS[generation.finishReason],
    incomplete_details: generation.finishReason === 'length' ? { reason: 'max_output_tokens' } : null,
    error: null,
    model: request.model,
    parallel_tool_calls: true,
    tool_choice: 'auto',
    tools: [],
    output: [
      {
        id: `msg_${context.id}`,
        type: 'message',
        role: 'assistant',
        status: generation.finishReason === 'stop' ? 'completed' : 'incomplete',
        content: [{ type: 'output_text', text: generation.text, annotations: [], logprobs: null }],
      },
    ],
    usage: {
      input_tokens: request.promptTokens,
      input_tokens_details: { cached_tokens: generation.cachedTokens },
      output_tokens: generation.outputTokens,
      output_tokens_details: { reasoning_tokens: 0, tool_output_tokens: 0 },
      total_tokens: request.promptTokens + generation.outputTokens,
    },
  };
}

const MESSAGE_STOP_REASON = { stop: 'end_turn', length: 'max_tokens', abort: null } as const;

function message(request: GenerationRequest, generation: Generation, context: AnswerContext) {
  return {
    id: `msg_${context.id}`,
    type: 'message',
    role: 'assistant',
    content: [{ type: 'text', text: generation.text }],
    model: request.model,
    stop_reason: MESSAGE_STOP_REASON[generation.finishReason],
    stop_sequence: null,
    usage: {
      input_tokens: request.promptTokens,
      output_tokens: generation.outputTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: generation.cachedTokens,
    },
  };
}
