import { parseExactJson } from '@batch-infer/contracts';
import {
  type ClaimResponse,
  claimResponse,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  type ReleaseRequest,
  type RenewRequest,
  type RenewResponse,
  type RunnerReport,
  renewResponse,
  type SettleResponse,
  settleResponse,
} from '@batch-infer/contracts/runner-protocol';
import { type Dispatcher, Pool } from 'undici';

/** The control plane's refusal, or its silence (`status` 0). */
export class ServerError extends Error {
  override readonly name = 'ServerError';
  readonly status: number;
  /** The problem's `code`, such as `lease_lost`. */
  readonly code: string | null;

  constructor(status: number, code: string | null, message: string, cause?: unknown) {
    super(message, { cause });
    this.status = status;
    this.code = code;
  }

  /** True when the lease is over: nothing of it counts any more. */
  get leaseLost(): boolean {
    return this.status === 409 || this.code === 'lease_lost';
  }

  /** True when asking again may help. */
  get retryable(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export interface ServerClientOptions {
  readonly serverUrl: string;
  readonly apiKey: string | null;
  readonly runnerId: string;
}

const CALL_TIMEOUT_MS = 10_000;
const SETTLE_TIMEOUT_MS = 30_000;
/** A large answer gets the time that a slow way needs for it. */
const SLOW_BYTES_PER_MS = 1_000;

/** The runner's calls to the control plane. Each one throws `ServerError`; none retries. */
export class ServerClient {
  readonly runnerId: string;
  readonly #pool: Pool;
  readonly #basePath: string;
  readonly #headers: Record<string, string>;

  constructor(options: ServerClientOptions) {
    const url = new URL(options.serverUrl);
    this.runnerId = options.runnerId;
    this.#basePath = url.pathname.replace(/\/+$/, '');
    this.#pool = new Pool(url.origin, {
      connections: 64,
      keepAliveTimeout: 3_000,
      keepAliveMaxTimeout: 3_000,
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
      connect: { timeout: 5_000 },
    });
    this.#headers = {
      [PROTOCOL_HEADER]: String(PROTOCOL_VERSION),
      ...(options.apiKey === null ? {} : { authorization: `Bearer ${options.apiKey}` }),
    };
  }

  async claim(shardId: string, epoch: number): Promise<ClaimResponse> {
    const body = JSON.stringify({ runner_id: this.runnerId, shard_id: shardId, epoch });
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    const response = await this.#send('POST', '/v1/runner/claim', 'application/json', body, signal);
    // What the job adds to its bodies goes on to the engine.
    return claimResponse.parse(parseExactJson(await response.body.text()));
  }

  async renew(request: RenewRequest, timeoutMs: number): Promise<RenewResponse> {
    return renewResponse.parse(await this.#postJson('/v1/runner/renew', request, timeoutMs));
  }

  async settle(shardId: string, epoch: number, segment: Uint8Array): Promise<SettleResponse> {
    const path = `/v1/runner/shards/${shardId}/settle?epoch=${epoch}&runner_id=${this.runnerId}`;
    const signal = AbortSignal.timeout(SETTLE_TIMEOUT_MS + Math.ceil(segment.length / SLOW_BYTES_PER_MS));
    const response = await this.#send('POST', path, 'application/x-ndjson', segment, signal);
    return settleResponse.parse(await response.body.json());
  }

  async release(shardId: string, epoch: number, reason: ReleaseRequest['reason']): Promise<void> {
    await this.#postJson(`/v1/runner/shards/${shardId}/release`, { runner_id: this.runnerId, epoch, reason });
  }

  /** The shard's lines as they stand in the input, ended items included. */
  async lines(shardId: string, epoch: number, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const path = `/v1/runner/shards/${shardId}/lines?epoch=${epoch}&runner_id=${this.runnerId}`;
    return (await this.#send('GET', path, null, null, signal)).body;
  }

  /** The session stream: NDJSON of `sessionEvent`, open until one side ends it. */
  async session(report: RunnerReport, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const body = JSON.stringify(report);
    return (await this.#send('POST', '/v1/runner/session', 'application/json', body, signal)).body;
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  async #postJson(path: string, body: object, timeoutMs = CALL_TIMEOUT_MS): Promise<unknown> {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await this.#send('POST', path, 'application/json', JSON.stringify(body), signal);
    return response.body.json();
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    contentType: string | null,
    body: string | Uint8Array | null,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const headers = contentType === null ? this.#headers : { ...this.#headers, 'content-type': contentType };
    let response: Dispatcher.ResponseData;
    try {
      response = await this.#pool.request({ method, path: this.#basePath + path, headers, body, signal });
    } catch (error) {
      throw new ServerError(0, null, `the control plane did not answer: ${messageOf(error)}`, error);
    }
    if (response.statusCode >= 200 && response.statusCode < 300) return response;
    throw await refusal(response);
  }
}

const messageOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
};

async function refusal(response: Dispatcher.ResponseData): Promise<ServerError> {
  const text = await response.body.text().catch(() => '');
  let detail: string | null = null;
  let code: string | null = null;
  try {
    const problem: unknown = JSON.parse(text);
    if (typeof problem === 'object' && problem !== null) {
      if ('detail' in problem && typeof problem.detail === 'string') detail = problem.detail;
      if ('code' in problem && typeof problem.code === 'string') code = problem.code;
    }
  } catch {
    // Not a problem document: a proxy's page, perhaps. The status says enough.
  }
  return new ServerError(
    response.statusCode,
    code,
    `${response.statusCode} ${detail ?? 'from the control plane'}`,
  );
}
