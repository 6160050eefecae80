import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Job as WireJob } from '@batch-infer/contracts/native';

/** A request as the fake server received it. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type Handler = (request: SeenRequest, response: ServerResponse, count: number) => void | Promise<void>;

/** A real HTTP server on a free port that answers as a test says, and remembers what it was asked. */
export class FakeServer implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  readonly #server = createServer((request, response) => {
    void this.#answer(request, response);
  });
  #onChunk: ((chunk: Uint8Array) => void) | undefined;
  #handler: Handler = (_request, response) => sendJson(response, 500, {});

  /** With `onChunk`, bodies are handed over as they come and not kept. */
  static async start(handler: Handler, onChunk?: (chunk: Uint8Array) => void): Promise<FakeServer> {
    const fake = new FakeServer();
    fake.#handler = handler;
    fake.#onChunk = onChunk;
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) {
        if (this.#onChunk === undefined) chunks.push(chunk);
        else this.#onChunk(chunk);
      }
    } catch {
      return;
    }
    const url = new URL(request.url ?? '/', this.url);
    const seen = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    };
    this.requests.push(seen);
    await this.#handler(seen, response, this.requests.length);
  }
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

/** A job as the wire has it. */
export function wireJob(changes: Partial<WireJob> = {}): WireJob {
  const id = changes.id ?? 'job_1';
  return {
    id,
    object: 'job',
    status: 'queued',
    phase: 'queued',
    paused: false,
    endpoint: '/v1/chat/completions',
    models: ['m'],
    priority: 'normal',
    counts: { total: 2, queued: 2, running: 0, succeeded: 0, failed: 0, cancelled: 0, expired: 0 },
    reused_items: 0,
    progress: { items_per_second: 0, output_tokens_per_second: 0, eta_seconds: null },
    queue: { position: null, waiting_for: [] },
    usage: { input_tokens: 0, cached_input_tokens: 0, output_tokens: 0 },
    errors: [],
    input_errors: [],
    input_file_id: null,
    output_file_id: null,
    error_file_id: null,
    created_at: '2026-01-01T00:00:00.000Z',
    started_at: null,
    finished_at: null,
    expires_at: '2026-01-02T00:00:00.000Z',
    completion_window: '24h',
    metadata: {},
    webhook: null,
    links: { self: `/v1/jobs/${id}`, results: '', errors: '', cancel: '' },
    ...changes,
  };
}

/** A job all of whose items succeeded. */
export const endedJob = (total = 2): WireJob =>
  wireJob({
    status: 'succeeded',
    phase: 'succeeded',
    counts: { total, queued: 0, running: 0, succeeded: total, failed: 0, cancelled: 0, expired: 0 },
  });

/** A result line, with its line break. */
export function resultLine(index: number, changes: Record<string, unknown> = {}): string {
  const body = { choices: [{ message: { role: 'assistant', content: `answer ${index}` } }] };
  const line = {
    index,
    custom_id: String(index),
    status: 'succeeded',
    response: body,
    attempts: 1,
    ...changes,
  };
  return `${JSON.stringify(line)}\n`;
}

/** A failed result line, with its line break. */
export const failedLine = (index: number): string =>
  resultLine(index, {
    status: 'failed',
    response: undefined,
    error: { code: 'engine_error', type: 'server_error', message: 'The engine failed', retryable: true },
  });
