import { PassThrough, type Readable } from 'node:stream';
import type { ItemAnswer } from './item-answer.js';
import { type AskedStream, streamText } from './stream-text.js';

const KEEP_ALIVE_MS = 10_000;

/**
 * A stream that begins before its answer is there. The status is gone with the first byte: what goes wrong from then on
 * is an event.
 * @param toErrorBody the error body of a plain answer
 */
export function lateStream(params: {
  answer: Promise<ItemAnswer>;
  stream: AskedStream;
  toErrorBody: (error: unknown) => unknown;
}): Readable {
  const { answer, stream, toErrorBody } = params;
  const { dialect } = stream;
  const body = new PassThrough();
  body.write(dialect.keepAlive);
  const timer = setInterval(() => body.write(dialect.keepAlive), KEEP_ALIVE_MS);
  // The client is gone.
  body.once('close', () => clearInterval(timer));
  void answer
    .then(
      (ended) => streamText(ended, stream, toErrorBody),
      (error: unknown) => dialect.error(toErrorBody(error)),
    )
    .then((events) => {
      clearInterval(timer);
      body.end(events);
    });
  return body;
}
