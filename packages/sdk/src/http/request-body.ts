import { InputReadError } from '../errors.js';
import type { InputSource } from '../sources.js';
import type { Watchdog } from './watchdog.js';

/**
 * The body of one attempt. Every chunk that is taken counts as a sign of life; a failing source is remembered, because
 * `fetch` reports it as just another broken connection.
 */
export class RequestBody {
  readonly stream: ReadableStream<Uint8Array>;
  /** Why the source could not be read on, if it could not. */
  sourceError: InputReadError | undefined;

  constructor(source: ReadableStream<Uint8Array>, name: string, watchdog: Watchdog) {
    const reader = source.getReader();
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          watchdog.start();
          try {
            const { done, value } = await reader.read();
            if (done) controller.close();
            else controller.enqueue(value);
          } catch (error) {
            this.sourceError = unreadable(name, error);
            controller.error(this.sourceError);
          }
        },
        cancel: (reason) => reader.cancel(reason),
      },
      { highWaterMark: 0 },
    );
  }

  static async open(input: InputSource, watchdog: Watchdog): Promise<RequestBody> {
    try {
      return new RequestBody(await input.open(), input.name, watchdog);
    } catch (error) {
      throw unreadable(input.name, error);
    }
  }
}

function unreadable(name: string, error: unknown): InputReadError {
  if (error instanceof InputReadError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new InputReadError(`Cannot read ${name}: ${reason}`, { cause: error });
}
