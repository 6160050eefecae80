import { hash } from 'node:crypto';
import type { Endpoint } from '@batch-infer/contracts';
import {
  badJson,
  badRequest,
  badSchema,
  type ErrorAnswer,
  outputTooLong,
  promptTooLong,
  unknownModel,
} from './error-bodies.js';
import { countTokens } from './prompt.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** A request that the engine accepts. */
export interface GenerationRequest {
  readonly path: Endpoint;
  readonly body: JsonObject;
  readonly model: string;
  /** Everything the model would read, in order. */
  readonly promptText: string;
  readonly lastUserText: string;
  readonly promptTokens: number;
  /** Tokens that will be generated. */
  readonly outputTokens: number;
  /** True when the request's own limit cuts the answer. */
  readonly cutByLimit: boolean;
  readonly stream: boolean;
}

export interface RequestRules {
  readonly models: ReadonlySet<string>;
  readonly maxModelLen: number;
  readonly outputTokens: number;
}

/** Parses and checks a body the way vLLM does, in the same order: JSON, schema, model, ranges, length. */
export function readGenerationRequest(
  path: Endpoint,
  rawBody: string,
  rules: RequestRules,
): GenerationRequest | ErrorAnswer {
  const body = parseObject(rawBody);
  if (body === null) return badJson(path, rawBody);
  const source = echoSource(body);
  if (source === undefined)
    return badSchema(path, `Field required: ${inputField(path)}`, `body.${inputField(path)}`);
  const { model, temperature } = body;
  if (typeof model !== 'string') return badSchema(path, 'Field required: model', 'body.model');
  if (temperature !== undefined && temperature !== null && typeof temperature !== 'number') {
    return badSchema(path, 'Input should be a valid number', 'body.temperature');
  }
  if (!rules.models.has(model)) return unknownModel(path, model, rules.models);
  if (typeof temperature === 'number' && temperature < 0) {
    return badRequest(path, `temperature must be non-negative, got ${temperature}.`, 'temperature');
  }
  const maxTokens = outputLimit(body);
  if (maxTokens !== null && maxTokens < 1) {
    return badRequest(path, `max_tokens must be at least 1, got ${maxTokens}.`, 'max_tokens');
  }
  const promptText = textOf([body.system, body.instructions, source].filter((part) => part !== undefined));
  const promptTokens = countTokens(promptText);
  if (promptTokens >= rules.maxModelLen) return promptTooLong(path, rules.maxModelLen);
  if (maxTokens !== null && maxTokens > rules.maxModelLen) {
    return outputTooLong(path, maxTokens, rules.maxModelLen);
  }
  const wanted = typeof body.sim_output_tokens === 'number' ? body.sim_output_tokens : rules.outputTokens;
  // A limit that fits the window but not beside the prompt is no error: the answer is cut where the window ends.
  const limit = Math.min(maxTokens ?? Number.POSITIVE_INFINITY, rules.maxModelLen - promptTokens);
  return {
    path,
    body,
    model,
    promptText,
    lastUserText: lastUserText(source),
    promptTokens,
    outputTokens: path === '/v1/embeddings' ? 0 : Math.min(wanted, limit),
    cutByLimit: wanted > limit,
    stream: body.stream === true,
  };
}

/**
 * The text with which the engine answers a body: `echo:<sha1 of its messages, prompt or input>:<first 40 characters
 * of the last user text>`. Tests compute it to check that an answer belongs to its request.
 */
export function echoText(body: JsonObject): string {
  const source = echoSource(body);
  return `echo:${hash('sha1', JSON.stringify(source))}:${lastUserText(source).slice(0, 40)}`;
}

function parseObject(rawBody: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(rawBody);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function inputField(path: Endpoint): string {
  if (path === '/v1/completions') return 'prompt';
  return path === '/v1/embeddings' || path === '/v1/responses' ? 'input' : 'messages';
}

function echoSource(body: JsonObject): unknown {
  return body.messages ?? body.prompt ?? body.input;
}

function outputLimit(body: JsonObject): number | null {
  const limit = body.max_completion_tokens ?? body.max_output_tokens ?? body.max_tokens;
  return typeof limit === 'number' ? limit : null;
}

/** All text inside: of strings, of messages' `content`, and of content parts' `text`. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.map(textOf).join('\n');
  if (!isObject(value)) return value === null || value === undefined ? '' : String(value);
  return textOf(value.content ?? value.text);
}

function lastUserText(source: unknown): string {
  if (!Array.isArray(source)) return textOf(source);
  const messages: readonly unknown[] = source;
  const last =
    messages.findLast((message) => !isObject(message) || message.role === 'user') ?? messages.at(-1);
  return textOf(last);
}
