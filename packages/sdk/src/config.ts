/** Where the client finds a server when nothing else is said: the embedded default. */
export const DEFAULT_BASE_URL = 'http://127.0.0.1:8080';

/** What a client is made with; whatever is absent comes from the environment, where there is one. */
export interface BatchInferOptions {
  /** Origin of the server, with or without `/v1` or a route behind it. Default: `BATCH_INFER_BASE_URL`, else `http://127.0.0.1:8080`. */
  readonly baseUrl?: string;
  /** Default: `BATCH_INFER_API_KEY`. A server without keys needs none. */
  readonly apiKey?: string;
  /** Another `fetch`, for example behind a proxy. */
  readonly fetch?: typeof globalThis.fetch;
  /** Retries after the first attempt. Default 4. */
  readonly maxRetries?: number;
  /** Time for one attempt, in milliseconds; for streams, the longest silence. Default 60,000. */
  readonly timeoutMs?: number;
}

export interface ResolvedOptions {
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
  readonly fetch: typeof globalThis.fetch;
  readonly maxRetries: number;
  readonly timeoutMs: number;
}

/** Options, then environment, then defaults. Throws a `TypeError` for a base URL that is not an http(s) URL, and for a key that no header can carry. */
export function resolveOptions(options: BatchInferOptions): ResolvedOptions {
  const environment = globalThis.process?.env ?? {};
  return {
    baseUrl: normalizeBaseUrl(options.baseUrl ?? environment.BATCH_INFER_BASE_URL ?? DEFAULT_BASE_URL),
    apiKey: normalizeApiKey(options.apiKey ?? environment.BATCH_INFER_API_KEY ?? ''),
    fetch: options.fetch ?? globalThis.fetch.bind(globalThis),
    maxRetries: options.maxRetries ?? 4,
    timeoutMs: options.timeoutMs ?? 60_000,
  };
}

/** White space around a key is a slip (`$(cat key)`, a copied line break): it is left out. */
function normalizeApiKey(text: string): string | undefined {
  const apiKey = text.trim();
  if (apiKey === '') return undefined;
  // Checked here, because what `fetch` says of a bad header shows the header.
  if (!/^[!-~]+$/.test(apiKey)) {
    throw new TypeError(
      'apiKey (BATCH_INFER_API_KEY) must be one word of printable ASCII characters, without spaces inside',
    );
  }
  return apiKey;
}

const VERSION_AND_ROUTE =
  /(?:\/+v1)+(?:\/+(?:jobs|models|files|batches|chat\/completions|completions|embeddings|responses|messages)(?:\/.*)?)?$/;

function normalizeBaseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new TypeError(`baseUrl must be an http or https URL such as ${DEFAULT_BASE_URL}, not "${text}"`);
  }
  // Other clients want the version in it, and some the whole address of a route.
  return `${url.origin}${url.pathname.replace(/\/+$/, '').replace(VERSION_AND_ROUTE, '')}`;
}
