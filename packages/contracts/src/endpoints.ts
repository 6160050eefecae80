/** The engine endpoints whose requests can be batched. */
export const ENDPOINTS = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/responses',
  '/v1/messages',
] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

export const isEndpoint = (url: string): url is Endpoint => (ENDPOINTS as readonly string[]).includes(url);

/** Endpoint of a job that names none, in the server, the SDK and the CLI. */
export const DEFAULT_ENDPOINT: Endpoint = '/v1/chat/completions';
