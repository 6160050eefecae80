import type { ApiRoute } from '../api-route.js';

const anything = { 'application/json': { type: 'object' } };

const plain = (path: string, operationId: string, summary: string): ApiRoute => ({
  method: 'post',
  path,
  operationId,
  summary,
  tag: 'synchronous',
  scope: 'write',
  request: { content: anything },
  status: 200,
  answer: anything,
});

/** Plain requests: jobs of one item that are waited for. Bodies are the engine's. */
export const SYNC_ROUTES: readonly ApiRoute[] = [
  plain('/v1/chat/completions', 'createChatCompletion', 'A chat completion, queued instead of refused.'),
  plain('/v1/completions', 'createCompletion', 'A completion, queued instead of refused.'),
  plain('/v1/embeddings', 'createEmbedding', 'Embeddings, queued instead of refused.'),
  plain(
    '/v1/responses',
    'createResponse',
    'A response, queued instead of refused, or made in the background. Not streamed.',
  ),
  plain('/v1/messages', 'createMessage', 'A message of Anthropic’s API, queued instead of refused.'),
];
