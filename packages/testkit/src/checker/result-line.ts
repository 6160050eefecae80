import { BrokenInvariant } from './broken-invariant.js';

export type ItemEnd = 'succeeded' | 'failed' | 'cancelled' | 'expired';

export interface EndedItem {
  readonly customId: string;
  readonly end: ItemEnd;
  /** Error code of an item that did not succeed, or null. */
  readonly code: string | null;
}

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Reads how an item ended from a result line: OpenAI's (`response`, `error`), the native API's (`status`) or
 * Anthropic's (`result.type`).
 * @param line the line's text, or its parsed value.
 * @throws {BrokenInvariant} when it is none of these.
 */
export function readResultLine(line: unknown): EndedItem {
  const value = typeof line === 'string' ? parse(line) : line;
  if (!isObject(value) || typeof value.custom_id !== 'string') {
    throw new BrokenInvariant('I2', 'a result line is not an object with a custom_id');
  }
  const customId = value.custom_id;
  if (typeof value.status === 'string') return native(customId, value.status, value);
  if (isObject(value.result)) return anthropic(customId, value.result);
  return openai(customId, value);
}

/** Splits JSONL text into its lines; the line feed at the end makes no line. */
export function splitLines(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new BrokenInvariant('I2', 'a result line is not JSON');
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function codeOf(error: unknown): string | null {
  if (!isObject(error)) return null;
  const code = error.code ?? error.type;
  return typeof code === 'string' || typeof code === 'number' ? String(code) : null;
}

const ENDS: ReadonlyMap<string, ItemEnd> = new Map([
  ['succeeded', 'succeeded'],
  ['failed', 'failed'],
  ['errored', 'failed'],
  ['cancelled', 'cancelled'],
  ['canceled', 'cancelled'],
  ['expired', 'expired'],
]);

function endNamed(customId: string, word: unknown): ItemEnd {
  const end = ENDS.get(String(word));
  if (end === undefined) throw new BrokenInvariant('I2', 'a result line has an unknown end', [customId]);
  return end;
}

function native(customId: string, status: string, value: JsonObject): EndedItem {
  return { customId, end: endNamed(customId, status), code: codeOf(value.error) };
}

function anthropic(customId: string, result: JsonObject): EndedItem {
  const error = isObject(result.error) ? (result.error.error ?? result.error) : null;
  return { customId, end: endNamed(customId, result.type), code: codeOf(error) };
}

function openai(customId: string, { response, error }: JsonObject): EndedItem {
  if (isObject(error)) {
    const code = codeOf(error);
    const end = code === 'batch_cancelled' ? 'cancelled' : code === 'batch_expired' ? 'expired' : 'failed';
    return { customId, end, code };
  }
  if (!isObject(response) || typeof response.status_code !== 'number') {
    throw new BrokenInvariant('I2', 'a result line has neither a response nor an error', [customId]);
  }
  if (response.status_code < 400) return { customId, end: 'succeeded', code: null };
  const body = isObject(response.body) ? response.body.error : null;
  return { customId, end: 'failed', code: codeOf(body) ?? String(response.status_code) };
}
