import type { FastifyReply, FastifyRequest } from 'fastify';

/** What the SDKs and tools read of an answer besides its body. */
const EXPOSED_HEADERS = [
  'accept-ranges',
  'allow',
  'content-disposition',
  'content-length',
  'content-range',
  'etag',
  'idempotent-replayed',
  'location',
  'openai-processing-ms',
  'ratelimit',
  'ratelimit-policy',
  'request-id',
  'retry-after',
  'retry-after-ms',
  'x-batch-infer-attempts',
  'x-batch-infer-wait-ms',
  'x-incomplete',
  'x-ratelimit-limit-requests',
  'x-ratelimit-limit-tokens',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-remaining-tokens',
  'x-ratelimit-reset-requests',
  'x-ratelimit-reset-tokens',
  'x-request-id',
  'x-should-retry',
].join(', ');

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';
/** Header names as a browser lists them; anything else gets no permission. */
const HEADER_NAMES = /^[\w!#$%&'*+.^`|~-]+(?:\s*,\s*[\w!#$%&'*+.^`|~-]+)*$/;
/** Browsers ask again after this at the latest: an origin that was taken off the list is refused soon. */
const PREFLIGHT_SECONDS = 600;

/** Whether a browser asks if a page may send a request. It sends no key with this question. */
export const isPreflight = ({ method, headers }: FastifyRequest): boolean =>
  method === 'OPTIONS' &&
  headers.origin !== undefined &&
  headers['access-control-request-method'] !== undefined;

/**
 * Lets the pages of an origin read the answer. Never with `access-control-allow-credentials`: this API knows no cookies,
 * and a browser's other credentials are of no use to it.
 */
export function allowOrigin(reply: FastifyReply, origin: string): void {
  reply
    .header('access-control-allow-origin', origin)
    .header('access-control-expose-headers', EXPOSED_HEADERS);
}

/** The answer to the preflight of an allowed origin: it may send what the API takes. */
export function answerPreflight(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { headers } = request;
  const asked = headers['access-control-request-headers'] ?? '';
  if (HEADER_NAMES.test(asked)) reply.header('access-control-allow-headers', asked);
  // Chromium's question before a page of a public address reaches a private one.
  if (headers['access-control-request-private-network'] === 'true')
    reply.header('access-control-allow-private-network', 'true');
  return reply
    .status(204)
    .header('access-control-allow-methods', METHODS)
    .header('access-control-max-age', String(PREFLIGHT_SECONDS))
    .send();
}
