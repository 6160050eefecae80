import { ConnectionError } from './errors.js';
import type { StreamAnswer } from './http/http-client.js';

/**
 * The lines of an NDJSON answer as they arrive, one chunk in memory at a time. A body whose last line has no line
 * break was cut: that is an error, never a shorter result.
 *
 * @throws ConnectionError, or whatever `fetch` throws, when the body breaks.
 */
export async function* readLines(answer: StreamAnswer): AsyncGenerator<string, void, undefined> {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  /** Pieces of a line that goes on in the next chunk. */
  let pieces: string[] = [];
  try {
    for (;;) {
      answer.watchdog.start();
      const { done, value } = await reader.read();
      // The consumer may take its time: only the server's silence counts.
      answer.watchdog.stop();
      if (done) break;
      const text = decoder.decode(value, { stream: true });
      let from = 0;
      for (let to = text.indexOf('\n'); to !== -1; to = text.indexOf('\n', from)) {
        pieces.push(text.slice(from, to));
        const line = pieces.join('');
        pieces = [];
        from = to + 1;
        if (line !== '') yield line;
      }
      if (from < text.length) pieces.push(text.slice(from));
    }
    if (pieces.length > 0) {
      throw new ConnectionError('The answer ended in the middle of a line', {
        code: 'connection_error',
        retryable: true,
      });
    }
  } finally {
    answer.watchdog.stop();
    await reader.cancel().catch(() => undefined);
  }
}
