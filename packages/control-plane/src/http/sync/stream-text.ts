import { parseExactJson } from '@batch-infer/contracts';
import { DomainError } from '../../errors.js';
import type { ItemAnswer } from './item-answer.js';
import type { JsonObject } from './json-object.js';
import type { StreamDialect } from './streams.js';

/** A stream that was asked for. */
export interface AskedStream {
  readonly dialect: StreamDialect;
  readonly includeUsage: boolean;
}

const decoder = new TextDecoder();

/**
 * An answer as the text of its stream: its events, or an error's. Engines give answers of many forms; one that no events
 * can be made of is an error event as well.
 * @param toErrorBody the error body of a plain answer
 */
export function streamText(
  { status, body }: ItemAnswer,
  stream: AskedStream,
  toErrorBody: (error: unknown) => unknown,
): string {
  const { dialect } = stream;
  try {
    const value = parseExactJson(decoder.decode(body));
    return status === 200 ? dialect.events(value as JsonObject, stream).join('') : dialect.error(value);
  } catch (cause) {
    const message =
      'The engine’s answer has a form that cannot be told as a stream. It is kept: send the request again without stream, or read the results of the job that x-batch-infer-job-id names.';
    return dialect.error(toErrorBody(new DomainError('internal_error', message, { cause })));
  }
}
