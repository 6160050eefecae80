import type { FastifyRequest } from 'fastify';

export type Dialect = 'openai' | 'anthropic';

const MESSAGES = /^\/v1\/messages(?:[/?]|$)/;
const MODELS = /^\/v1\/models(?:[/?]|$)/;

/**
 * Whose words an answer is in. The path decides, not the way a key is sent; where both have a path (`/v1/models`), the
 * presence of `anthropic-version`.
 */
export function dialectOf(request: Pick<FastifyRequest, 'url' | 'headers'>): Dialect {
  if (MESSAGES.test(request.url)) return 'anthropic';
  return MODELS.test(request.url) && request.headers['anthropic-version'] !== undefined
    ? 'anthropic'
    : 'openai';
}
