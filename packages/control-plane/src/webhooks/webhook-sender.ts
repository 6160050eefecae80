import { type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { type CheckedTarget, ForbiddenTargetError, portOf, type TargetGuard } from './target-guard.js';

/** What a call came to. */
export type SendOutcome =
  | { readonly kind: 'answered'; readonly status: number }
  | { readonly kind: 'failed'; readonly error: string; readonly isTimeout?: boolean }
  | { readonly kind: 'forbidden'; readonly error: string };

/** From the name's addresses to the end of the answer's head. Receivers are to answer first and work afterwards. */
const TIMEOUT_MS = 15_000;

/**
 * Calls a receiver: one connection to the address that the guard has judged. Redirects are not followed (they would
 * lead past the guard), and nothing of the answer but its status is read.
 */
export class WebhookSender {
  readonly #guard: TargetGuard;
  readonly #timeoutMs: number;

  constructor(options: { guard: TargetGuard; timeoutMs?: number }) {
    this.#guard = options.guard;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  }

  /** Never throws. */
  async send(call: {
    url: string;
    headers: Readonly<Record<string, string>>;
    body: string;
    signal?: AbortSignal;
  }): Promise<SendOutcome> {
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    const signal = call.signal === undefined ? timeout : AbortSignal.any([timeout, call.signal]);
    try {
      const target = await untilAborted(this.#guard.check(call.url), signal);
      return { kind: 'answered', status: await post(target, call, signal) };
    } catch (error) {
      if (error instanceof ForbiddenTargetError) return { kind: 'forbidden', error: error.message };
      if (timeout.aborted) {
        return { kind: 'failed', error: 'The receiver did not answer in time.', isTimeout: true };
      }
      return { kind: 'failed', error: reasonOf(error) };
    }
  }
}

/** A lookup cannot be cut off: its answer is waited for no longer. */
async function untilAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function post(
  { url, address }: CheckedTarget,
  { headers, body }: { headers: Readonly<Record<string, string>>; body: string },
  signal: AbortSignal,
): Promise<number> {
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const call: ClientRequest = request({
      host: address,
      port: portOf(url),
      path: `${url.pathname}${url.search}`,
      method: 'POST',
      // A connection of its own: one kept alive was judged for another call.
      agent: false,
      // The certificate is that of the name, not of the address.
      ...(isIP(hostname) === 0 ? { servername: hostname } : {}),
      signal,
      headers: {
        ...headers,
        host: url.host,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'batch-infer-webhooks/1',
        connection: 'close',
      },
    });
    call.once('response', (response: IncomingMessage) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    call.once('error', reject);
    call.end(body);
  });
}

/** Without addresses: the log is the customer's, the network is not. */
function reasonOf(error: unknown): string {
  if (error instanceof Error && error.name === 'AbortError') return 'The receiver did not answer in time.';
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  return code === 'ABORT_ERR'
    ? 'The receiver did not answer in time.'
    : `The receiver could not be reached (${code}).`;
}
