import { type ApiRoute, json, list } from '../api-route.js';

const route = (rest: Omit<ApiRoute, 'tag' | 'status'>): ApiRoute => ({
  ...rest,
  tag: 'webhooks',
  status: 200,
});

const page = { after: 'Id of the last one of the page before.', limit: '1 to 100.' };

/** Receivers of events about jobs, and the log of what was sent. Secrets are shown to keys that may write. */
export const WEBHOOKS_ROUTES: readonly ApiRoute[] = [
  route({
    method: 'post',
    path: '/v1/webhook_endpoints',
    operationId: 'createWebhookEndpoint',
    summary: 'Make a webhook endpoint; the answer is the only time that its secret is shown.',
    scope: 'write',
    request: { content: json('CreateWebhookEndpointRequest') },
    answer: json('WebhookEndpointWithSecret'),
  }),
  route({
    method: 'get',
    path: '/v1/webhook_endpoints',
    operationId: 'listWebhookEndpoints',
    summary: 'List webhook endpoints, newest first.',
    scope: 'read',
    query: page,
    answer: json(list('WebhookEndpoint')),
  }),
  route({
    method: 'get',
    path: '/v1/webhook_endpoints/{id}',
    operationId: 'getWebhookEndpoint',
    summary: 'A webhook endpoint.',
    scope: 'read',
    answer: json('WebhookEndpoint'),
  }),
  route({
    method: 'post',
    path: '/v1/webhook_endpoints/{id}',
    operationId: 'updateWebhookEndpoint',
    summary: 'Change a webhook endpoint; a disabled one is enabled again.',
    scope: 'write',
    request: { required: false, content: json('UpdateWebhookEndpointRequest') },
    answer: json('WebhookEndpoint'),
  }),
  route({
    method: 'delete',
    path: '/v1/webhook_endpoints/{id}',
    operationId: 'deleteWebhookEndpoint',
    summary: 'Delete a webhook endpoint; what is on its way to it fails.',
    scope: 'write',
    answer: json({
      type: 'object',
      required: ['id', 'object', 'deleted'],
      properties: {
        id: { type: 'string' },
        object: { const: 'webhook_endpoint.deleted' },
        deleted: { const: true },
      },
    }),
  }),
  route({
    method: 'post',
    path: '/v1/webhook_endpoints/{id}/rotate_secret',
    operationId: 'rotateWebhookSecret',
    summary: 'Give an endpoint a new secret; both sign for a day where the old one is kept.',
    scope: 'write',
    request: { required: false, content: json('RotateWebhookSecretRequest') },
    answer: json('WebhookEndpointWithSecret'),
  }),
  route({
    method: 'post',
    path: '/v1/webhook_endpoints/{id}/test',
    operationId: 'testWebhookEndpoint',
    summary: 'Send an event about a job that does not exist, once, and say what the endpoint answered.',
    scope: 'write',
    request: { required: false, content: json('TestWebhookEndpointRequest') },
    answer: json('WebhookTestResult'),
  }),
  route({
    method: 'get',
    path: '/v1/webhook_deliveries',
    operationId: 'listWebhookDeliveries',
    summary: 'The delivery log, newest first.',
    scope: 'read',
    query: {
      webhook_endpoint_id: 'Filter.',
      job_id: 'Filter.',
      status: 'pending, delivered or failed.',
      ...page,
    },
    answer: json(list('WebhookDelivery')),
  }),
  route({
    method: 'post',
    path: '/v1/webhook_deliveries/{id}/redeliver',
    operationId: 'redeliverWebhook',
    summary: 'Send an event again, under the same id.',
    scope: 'write',
    answer: json('WebhookDelivery'),
  }),
  route({
    method: 'get',
    path: '/v1/webhook_secret',
    operationId: 'getWebhookSecret',
    summary: 'The secret that signs the webhooks of jobs that bring none.',
    scope: 'write',
    answer: json('WebhookSecret'),
  }),
  route({
    method: 'get',
    path: '/v1/webhook_event_types',
    operationId: 'listWebhookEventTypes',
    summary: 'The types of events.',
    scope: 'any',
    answer: json({
      type: 'object',
      required: ['object', 'data'],
      properties: { object: { const: 'list' }, data: { type: 'array', items: { type: 'string' } } },
    }),
  }),
];
