/** Where the lines of a job come from. */
export interface InputSource {
  /** Name for messages. */
  readonly name: string;
  /** True when `open` can be called again, so that a failed upload can be repeated. */
  readonly repeatable: boolean;
  /** The bytes from the beginning. */
  open(): Promise<ReadableStream<Uint8Array>> | ReadableStream<Uint8Array>;
  /** SHA-256 of the bytes in hex, where it can be had without holding them in memory. */
  sha256?(): Promise<string>;
}

/**
 * A JSONL file: a path (Node, Bun, Deno), a `file:` or `http(s):` URL, a `Blob` or `File`, or a stream of bytes.
 * A stream can be sent only once: an upload that breaks is not repeated.
 */
export type FileInput =
  | string
  | URL
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>
  | InputSource;

/** Makes a source of whatever `submitFile` was given. Strings are paths unless they are http(s) URLs. */
export async function toSource(input: FileInput): Promise<InputSource> {
  if (typeof input === 'string') {
    return /^https?:\/\//i.test(input) ? urlSource(new URL(input)) : await pathSource(input);
  }
  if (input instanceof URL) return input.protocol === 'file:' ? await pathSource(input) : urlSource(input);
  if (input instanceof Blob) return blobSource(input);
  if ('open' in input) return input;
  return input instanceof ReadableStream ? onceSource(() => input) : onceSource(() => streamOf(input));
}

/** Loaded only when a path is given, so that browsers never see a file system. */
async function pathSource(path: string | URL): Promise<InputSource> {
  const { openFile } = await import('./path-source.js');
  return openFile(path);
}

function urlSource(url: URL): InputSource {
  return {
    name: url.href,
    repeatable: true,
    async open() {
      const response = await fetch(url);
      if (!response.ok || response.body === null) throw new Error(`it answered ${response.status}`);
      return response.body;
    },
  };
}

function blobSource(blob: Blob): InputSource {
  const name = 'name' in blob && typeof blob.name === 'string' ? blob.name : 'the blob';
  return { name, repeatable: true, open: () => blob.stream() };
}

function onceSource(open: () => ReadableStream<Uint8Array>): InputSource {
  return { name: 'the stream', repeatable: false, open };
}

/** Chunks of about 64 kB of lines, made as they are wanted: the text of a job never stands in memory whole. */
export function linesSource(lines: () => Iterable<string>): InputSource {
  return {
    name: 'the items',
    repeatable: true,
    open: () => {
      const iterator = lines()[Symbol.iterator]();
      const encoder = new TextEncoder();
      return new ReadableStream<Uint8Array>({
        pull(controller) {
          let text = '';
          while (text.length < 65_536) {
            const { done, value } = iterator.next();
            if (done) {
              if (text !== '') controller.enqueue(encoder.encode(text));
              controller.close();
              return;
            }
            text += `${value}\n`;
          }
          controller.enqueue(encoder.encode(text));
        },
      });
    },
  };
}

function streamOf(chunks: AsyncIterable<Uint8Array | string>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(typeof value === 'string' ? encoder.encode(value) : value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
