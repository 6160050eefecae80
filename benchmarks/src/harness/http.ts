import { createReadStream, createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Pool } from 'undici';

interface SendOptions {
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | Readable;
  readonly signal?: AbortSignal;
}

/** JSON over a keep-alive pool, without time limits of its own: what it takes is what is measured. */
export class JsonClient {
  readonly #pool: Pool;

  constructor(origin: string, connections = 8) {
    this.#pool = new Pool(origin, {
      connections,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 3_000,
    });
  }

  /** The parsed answer. @throws on any status but 2xx, with the answer's text. */
  async json<Answer>(path: string, options: SendOptions = {}): Promise<Answer> {
    const { statusCode, body } = await this.#send(path, options);
    const text = await body.text();
    if (statusCode >= 300) throw new Error(`${path} answered ${statusCode}: ${text.slice(0, 500)}`);
    return JSON.parse(text) as Answer;
  }

  post<Answer>(path: string, value: unknown): Promise<Answer> {
    return this.json(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(value),
    });
  }

  /** Streams the answer into a file. */
  async download(path: string, file: string): Promise<void> {
    const { statusCode, body } = await this.#send(path, {});
    if (statusCode >= 300)
      throw new Error(`${path} answered ${statusCode}: ${(await body.text()).slice(0, 500)}`);
    await pipeline(body, createWriteStream(file));
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  #send(path: string, { method = 'GET', headers, body, signal }: SendOptions) {
    return this.#pool.request({
      path,
      method,
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

/** A file as the part `file` of a form, streamed. */
export function multipartUpload(file: string, fields: Readonly<Record<string, string>>): SendOptions {
  const boundary = 'batch-infer-benchmark';
  const head = Object.entries(fields)
    .map(
      ([name, value]) =>
        `--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
    )
    .join('');
  async function* form(): AsyncGenerator<Buffer> {
    const part = 'content-disposition: form-data; name="file"; filename="input.jsonl"\r\n';
    yield Buffer.from(`${head}--${boundary}\r\n${part}content-type: application/octet-stream\r\n\r\n`);
    yield* createReadStream(file, { highWaterMark: 1 << 18 });
    yield Buffer.from(`\r\n--${boundary}--\r\n`);
  }
  return {
    method: 'POST',
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: Readable.from(form(), { objectMode: false }),
  };
}
