import { BatchInferError } from '../errors.js';
import type { InputSource } from '../sources.js';
import type { Watchdog } from './watchdog.js';

/** The input itself could not be read: not the server's fault, and not repeated. */
export class InputReadError extends BatchInferError {
  override name = 'InputReadError';
}

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
            this.sourceError = new InputReadError(`Cannot read ${name}: ${messageOf(error)}`, {
              cause: error,
            });
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
      throw new InputReadError(`Cannot read ${input.name}: ${messageOf(error)}`, { cause: error });
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
