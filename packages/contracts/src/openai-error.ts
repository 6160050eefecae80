import { isExactNumber, parseExactJson } from './exact-json.js';
import type { ItemError } from './failures.js';
import { toSingleLine } from './segment-line.js';

/** The `error` object of OpenAI's API as strict SDKs read it: a number where a text is due makes them refuse all of it. */
export interface OpenAiError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

type Json = Readonly<Record<string, unknown>>;

/** What stands for what an engine did not say. */
type Otherwise = Pick<ItemError, 'type' | 'message'>;

/**
 * An engine's `error` in that form: the numeric `code` of vLLM and llama.cpp becomes text, and what is missing is filled
 * in. Its words stay, and so does what it says beside; the same object comes back where nothing is to be changed.
 */
export function toOpenAiError(error: Json, otherwise: Otherwise): OpenAiError {
  if (hasForm(error)) return error;
  return {
    ...error,
    message: textOf(error.message) ?? otherwise.message,
    type: textOf(error.type) ?? otherwise.type,
    param: textOf(error.param),
    code: textOf(error.code),
  };
}

/**
 * The error body of a failed request, as one line of JSON: the engine's own where it gave one in whatever of OpenAI's
 * forms (its bytes where nothing is to be changed), else `failure`.
 * @param body what the engine answered; empty where it did not
 */
export function openAiErrorBody(
  body: Uint8Array,
  failure: Omit<ItemError, 'retryable'>,
): Uint8Array | string {
  const { message, type, code } = failure;
  const parsed = parse(body);
  const error = parsed === null ? null : errorIn(parsed);
  if (error === null) return line({ error: { message, type, param: null, code } });
  if (error === parsed?.error && hasForm(error)) return body;
  const rest = error === parsed?.error ? parsed : {};
  return line({ ...rest, error: toOpenAiError(error, failure) });
}

function parse(body: Uint8Array): Json | null {
  try {
    const value = parseExactJson(decoder.decode(body));
    return isObject(value) ? value : null;
  } catch {
    // Not JSON: an error page, or nothing.
    return null;
  }
}

/** Some servers (SGLang, older vLLM) give the error without the object around it. */
function errorIn(body: Json): Json | null {
  if (isObject(body.error)) return body.error;
  if (body.error !== undefined || typeof body.message !== 'string') return null;
  const { object: _object, ...error } = body;
  return error;
}

const decoder = new TextDecoder();
const line = (value: object): string => toSingleLine(JSON.stringify(value));

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isExactNumber(value);

function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || isExactNumber(value) ? JSON.stringify(value) : null;
}

const isTextOrNull = (value: unknown): boolean => typeof value === 'string' || value === null;

const hasForm = (error: Json): error is Json & OpenAiError =>
  typeof error.message === 'string' &&
  typeof error.type === 'string' &&
  isTextOrNull(error.param) &&
  isTextOrNull(error.code);
