import { type ApiRoute, type Content, eitherError, json, text } from '../api-route.js';

const anything = json({ type: 'object' });
/** `stream: true`: the answer in one piece, as server-sent events. */
const streamable: Content = { ...anything, 'text/event-stream': text };

const plain = (path: string, operationId: string, summary: string, answer = anything): ApiRoute => ({
  method: 'post',
  path,
  operationId,
  summary,
  tag: 'synchronous',
  scope: 'write',
  request: { content: anything },
  status: 200,
  answer,
  errors: eitherError({ type: 'object' }),
});

/** Plain requests: jobs of one item that are waited for. Bodies are the engine's. */
export const SYNC_ROUTES: readonly ApiRoute[] = [
  plain(
    '/v1/chat/completions',
    'createChatCompletion',
    'A chat completion, queued instead of refused.',
    streamable,
  ),
  plain('/v1/completions', 'createCompletion', 'A completion, queued instead of refused.', streamable),
  plain('/v1/embeddings', 'createEmbedding', 'Embeddings, queued instead of refused.'),
  plain(
    '/v1/responses',
    'createResponse',
    'A response, queued instead of refused, or made in the background.',
    streamable,
  ),
  plain(
    '/v1/messages',
    'createMessage',
    'A message of Anthropic’s API, queued instead of refused.',
    streamable,
  ),
];
