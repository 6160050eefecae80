import { type ApiRoute, json } from '../api-route.js';

/** What became of background responses; they are made with `POST /v1/responses`. */
export const RESPONSES_ROUTES: readonly ApiRoute[] = [
  {
    method: 'get',
    path: '/v1/responses/{id}',
    operationId: 'getResponse',
    summary: 'A background response: queued, in progress, or the engine’s answer.',
    tag: 'responses',
    scope: 'read',
    query: {
      stream: 'Must not be true: a response is read when it is whole.',
      include: 'Of no effect, as the others: what the engine answered comes whole.',
      'include[]': 'Of no effect.',
      include_obfuscation: 'Of no effect.',
      starting_after: 'Of no effect.',
    },
    status: 200,
    answer: json('Response'),
  },
  {
    method: 'post',
    path: '/v1/responses/{id}/cancel',
    operationId: 'cancelResponse',
    summary: 'Cancel a background response. One that has ended stays as it is.',
    tag: 'responses',
    scope: 'write',
    status: 200,
    answer: json('Response'),
  },
  {
    method: 'delete',
    path: '/v1/responses/{id}',
    operationId: 'deleteResponse',
    summary: 'Delete a background response that has ended.',
    tag: 'responses',
    scope: 'write',
    status: 200,
    answer: json('DeletedResponse'),
  },
];
