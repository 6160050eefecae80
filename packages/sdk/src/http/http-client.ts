import ky from 'ky';
import pRetry from 'p-retry';
import type { ResolvedOptions } from '../config.js';
import { delay } from '../delay.js';
import { APIError, BatchInferError, ConnectionError, TimeoutError } from '../errors.js';
import type { InputSource } from '../sources.js';
import type { RequestOptions } from '../types.js';
import { errorOf } from './problem.js';
import { RequestBody } from './request-body.js';
import { decideRetry } from './retry.js';
import { RetryBudget } from './retry-budget.js';
import { Watchdog } from './watchdog.js';

/** One call, before it is sent. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | null | undefined>>;
  /** A JSON text. */
  readonly json?: string;
  /** NDJSON to send as the body. */
  readonly input?: InputSource;
  /** For POST. Default: a random key, kept over the retries. */
  readonly idempotencyKey?: string | undefined;
  /** How long the server is asked to hold its answer back. */
  readonly heldMs?: number;
  readonly options?: RequestOptions | undefined;
}

export interface Answer<Value> {
  readonly value: Value;
  readonly headers: Headers;
}

/** An answer whose body is read by the caller, who keeps the watchdog awake. */
export interface StreamAnswer {
  readonly body: ReadableStream<Uint8Array>;
  readonly headers: Headers;
  readonly watchdog: Watchdog;
}

/** Sends calls: headers, time-outs, error mapping, and the only retries there are. */
export class HttpClient {
  readonly #options: ResolvedOptions;
  readonly #random: () => number;
  readonly budget = new RetryBudget();

  constructor(options: ResolvedOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  get baseUrl(): string {
    return this.#options.baseUrl;
  }

  get maxRetries(): number {
    return this.#options.maxRetries;
  }

  /** Sends a call and parses its JSON answer. */
  async json<Value>(call: Call): Promise<Answer<Value>> {
    return await this.#repeat(call, async (key) => {
      const attempt = await this.#attempt(call, key);
      try {
        const text = await attempt.response.text();
        return { value: parseJson<Value>(text, this.baseUrl), headers: attempt.response.headers };
      } catch (error) {
        throw this.#translate(error, attempt.watchdog, call.options?.signal);
      } finally {
        attempt.watchdog.stop();
      }
    });
  }

  /** Sends a call and hands over the body of its answer, unread. Retries end where the body begins. */
  async stream(call: Call): Promise<StreamAnswer> {
    return await this.#repeat(call, async (key) => {
      const { response, watchdog } = await this.#attempt(call, key);
      return { body: response.body ?? new Blob([]).stream(), headers: response.headers, watchdog };
    });
  }

  async #repeat<Result>(call: Call, attempt: (key: string | undefined) => Promise<Result>): Promise<Result> {
    const { signal, maxRetries = this.#options.maxRetries } = call.options ?? {};
    const key = call.method === 'POST' ? (call.idempotencyKey ?? randomKey()) : undefined;
    const result = await pRetry(() => attempt(key), {
      retries: Number.MAX_SAFE_INTEGER,
      minTimeout: 0,
      signal,
      shouldRetry: async ({ error, attemptNumber }) => {
        const decision = decideRetry({
          error,
          attempt: attemptNumber,
          maxRetries,
          repeatable: call.input?.repeatable ?? true,
          random: this.#random,
        });
        if (decision.outcome === 'stop' || !this.budget.take()) return false;
        await delay(decision.delayMs, signal);
        return true;
      },
    });
    this.budget.giveBack();
    return result;
  }

  async #attempt(call: Call, key: string | undefined): Promise<{ response: Response; watchdog: Watchdog }> {
    const { timeoutMs = this.#options.timeoutMs, signal } = call.options ?? {};
    const watchdog = new Watchdog(timeoutMs + (call.heldMs ?? 0));
    const body = call.input === undefined ? undefined : await RequestBody.open(call.input, watchdog);
    watchdog.start();
    try {
      const response = await ky(`${this.baseUrl}${call.path}${queryOf(call.query)}`, {
        method: call.method,
        headers: this.#headers(call, key),
        retry: 0,
        timeout: false,
        throwHttpErrors: false,
        fetch: body === undefined ? this.#options.fetch : this.#sendOnce,
        signal: signal === undefined ? watchdog.signal : AbortSignal.any([signal, watchdog.signal]),
        ...(call.json === undefined ? {} : { body: call.json }),
        ...(body === undefined ? {} : { body: body.stream }),
      });
      if (!response.ok) throw await errorOf(response);
      return { response, watchdog };
    } catch (error) {
      watchdog.stop();
      throw body?.sourceError ?? this.#translate(error, watchdog, signal);
    }
  }

  /**
   * `fetch` for a streamed body. Where a redirect could follow, `fetch` must keep a copy of the whole body for it
   * (in Node: in memory). Without a window and without redirects it sends the stream itself.
   */
  readonly #sendOnce = (input: string | URL | Request, init?: RequestInit): Promise<Response> =>
    this.#options.fetch(input, { ...init, window: null, redirect: 'error' });

  #headers(call: Call, key: string | undefined): Record<string, string> {
    const { apiKey } = this.#options;
    return {
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
      ...(call.json === undefined ? {} : { 'content-type': 'application/json' }),
      ...(call.input === undefined ? {} : { 'content-type': 'application/x-ndjson' }),
    };
  }

  /** What the caller sees of a broken attempt. The caller's own abort reason is passed on as it is. */
  #translate(error: unknown, watchdog: Watchdog, signal: AbortSignal | undefined): unknown {
    return translateFailure(error, { watchdog, signal, baseUrl: this.baseUrl });
  }
}

/** Turns a failure of `fetch` or of reading a body into this library's errors. */
export function translateFailure(
  error: unknown,
  context: { watchdog: Watchdog; signal: AbortSignal | undefined; baseUrl: string },
): unknown {
  if (context.signal?.aborted) return context.signal.reason;
  if (error instanceof BatchInferError) return error;
  if (context.watchdog.signal.aborted) {
    const seconds = context.watchdog.limitMs / 1_000;
    const message = `${context.baseUrl} did not answer in time: the connection is open, but nothing moved on it for ${seconds} s`;
    return new TimeoutError(message, { code: 'timeout', retryable: true, cause: error });
  }
  const message = `Cannot reach ${context.baseUrl}: ${reasonOf(error)}`;
  return new ConnectionError(message, { code: 'connection_error', retryable: true, cause: error });
}

/** The innermost reason: `fetch failed` alone says nothing. */
function reasonOf(error: unknown): string {
  let innermost = error;
  while (innermost instanceof Error && innermost.cause instanceof Error) innermost = innermost.cause;
  if (!(innermost instanceof Error)) return String(innermost);
  const code = 'code' in innermost && typeof innermost.code === 'string' ? innermost.code : '';
  return innermost.message === '' ? code || innermost.name : innermost.message;
}

function parseJson<Value>(text: string, baseUrl: string): Value {
  try {
    return JSON.parse(text) as Value;
  } catch (error) {
    const message = `${baseUrl} did not answer with JSON; is it a batch-infer server?`;
    throw new APIError(message, { code: 'invalid_answer', retryable: false, cause: error });
  }
}

function queryOf(query: Call['query']): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) parameters.append(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters}`;
}

function randomKey(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
