import { LIMITS } from '@batch-infer/contracts';
import { type Dispatcher, Pool } from 'undici';
import type { Clock } from '../clock.js';
import { reasonOf } from '../logger.js';
import { ArrivingAnswers, type Source } from './arriving-answers.js';
import { parseRetryAfterMs } from './classify.js';
import type { BrokenConnection, EngineAnswer, EngineReply } from './reply.js';

/**
 * A request on a kept-alive connection that the engine was just closing fails within a round trip; a longer silence
 * means that the engine had begun to work on it.
 */
const RACE_MS = 100;
const CONNECT_ERRORS: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL', 'ETIMEDOUT'],
  ...['UND_ERR_CONNECT_TIMEOUT', 'EMFILE', 'ENFILE'],
]);

export interface EngineRequest {
  readonly path: string;
  readonly body: Uint8Array;
  readonly requestId: string;
  readonly timeoutMs: number;
}

export interface EngineCall {
  readonly reply: Promise<EngineReply>;
  /** Closes the connection, which makes vLLM drop the request. */
  abort(): void;
}

export interface EngineClientOptions {
  readonly url: string;
  readonly apiKey: string | null;
  /** Connections at most: no less than the largest window. */
  readonly connections: number;
  readonly clock: Clock;
  /** Bounds what arrives at once; one for all clients of the process. */
  readonly arriving?: ArrivingAnswers;
}

const ARRIVING = new ArrivingAnswers();

/** What an engine is reached through. */
export type EngineConnection = Pick<EngineClient, 'post' | 'get' | 'close'>;

/** The hot path: bytes out, bytes in, our own deadline. */
export class EngineClient {
  readonly #pool: Pool;
  readonly #basePath: string;
  readonly #headers: readonly string[];
  readonly #clock: Clock;
  readonly #arriving: ArrivingAnswers;

  constructor(options: EngineClientOptions) {
    const url = new URL(options.url);
    this.#arriving = options.arriving ?? ARRIVING;
    this.#basePath = url.pathname.replace(/\/+$/, '');
    this.#clock = options.clock;
    this.#pool = new Pool(url.origin, {
      connections: options.connections,
      // Engines close idle connections after 5 s: we close them first.
      keepAliveTimeout: 3_000,
      keepAliveMaxTimeout: 3_000,
      // A generation sends its headers only when it is done; the deadline is ours.
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
      connect: { timeout: 5_000 },
    });
    this.#headers = [
      ...['content-type', 'application/json', 'accept', 'application/json'],
      ...(options.apiKey === null ? [] : ['authorization', `Bearer ${options.apiKey}`]),
    ];
  }

  post(request: EngineRequest): EngineCall {
    const handler = new ReplyHandler(this.#clock, request.timeoutMs, this.#arriving);
    const headers = [...this.#headers, 'x-request-id', request.requestId];
    const path = this.#basePath + request.path;
    this.#pool.dispatch({ method: 'POST', path, headers, body: request.body }, handler);
    return { reply: handler.reply, abort: () => handler.end('aborted') };
  }

  /** A small GET: metrics, health, properties. */
  get(path: string, timeoutMs: number): Promise<EngineReply> {
    const handler = new ReplyHandler(this.#clock, timeoutMs, this.#arriving);
    this.#pool.dispatch({ method: 'GET', path: this.#basePath + path, headers: [...this.#headers] }, handler);
    return handler.reply;
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

class ReplyHandler implements Dispatcher.DispatchHandler, Source {
  readonly reply: Promise<EngineReply>;
  readonly #clock: Clock;
  readonly #startedAtMs: number;
  readonly #cancelTimer: () => void;
  readonly #chunks: Buffer[] = [];
  readonly #arriving: ArrivingAnswers;
  #resolve: (reply: EngineReply) => void = () => {};
  #controller: Dispatcher.DispatchController | null = null;
  #ended = false;
  #bytes = 0;
  #status = 0;
  #retryAfterMs: number | null = null;
  #about: Pick<EngineAnswer, 'contentType' | 'encoding' | 'location'> = {};

  constructor(clock: Clock, timeoutMs: number, arriving: ArrivingAnswers) {
    this.#clock = clock;
    this.#arriving = arriving;
    this.#startedAtMs = clock.nowMs();
    this.reply = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#cancelTimer = clock.after(timeoutMs, () => this.end('timeout'));
  }

  /** Ends it from our side and closes the connection. */
  end(kind: 'aborted' | 'timeout' | 'too_large'): void {
    if (this.#ended) return;
    this.#finish({ kind, ms: this.#ms() });
    this.#controller?.abort(new Error(kind));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#ended) controller.abort(new Error('ended before it was sent'));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    this.#status = status;
    const text = (name: string): string | undefined => [headers[name]].flat()[0];
    if (Number(text('content-length')) > LIMITS.answerBytes) this.end('too_large');
    this.#about = {
      contentType: text('content-type'),
      encoding: text('content-encoding'),
      location: text('location'),
    };
    if (status < 400) return;
    this.#retryAfterMs = parseRetryAfterMs(text('retry-after'), text('retry-after-ms'));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > LIMITS.answerBytes) this.end('too_large');
    else this.#keep(chunk);
  }

  #keep(chunk: Buffer): void {
    // What still comes behind the end is nobody's.
    if (this.#ended) return;
    this.#chunks.push(chunk);
    this.#arriving.add(this, chunk.length);
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    // undici reads on at once, and must not from inside the end of another answer.
    queueMicrotask(() => {
      if (!this.#ended) this.#controller?.resume();
    });
  }

  onResponseEnd(): void {
    const [only] = this.#chunks;
    const body = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks);
    this.#finish({
      kind: 'answer',
      status: this.#status,
      retryAfterMs: this.#retryAfterMs,
      ...this.#about,
      body,
      ms: this.#ms(),
    });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finish({ kind: 'broken', broken: this.#brokenBy(error), ms: this.#ms(), reason: reasonOf(error) });
  }

  #brokenBy(error: Error & { code?: unknown; socket?: { bytesRead?: number } }): BrokenConnection {
    if (this.#status !== 0) return 'partial';
    const code = String(error.code);
    if (CONNECT_ERRORS.has(code)) return 'refused';
    // undici says how much the connection had carried, except after a reset, where only the time tells.
    const reused = error.socket?.bytesRead === undefined ? true : error.socket.bytesRead > 0;
    return reused && this.#ms() < RACE_MS ? 'raced' : 'silent';
  }

  #ms(): number {
    return this.#clock.nowMs() - this.#startedAtMs;
  }

  #finish(reply: EngineReply): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelTimer();
    this.#arriving.end(this);
    this.#resolve(reply);
  }
}
