import { type ApiRoute, json } from '../api-route.js';

/** Limits of the product and of projects. */
export const LIMITS_ROUTES: readonly ApiRoute[] = [
  {
    method: 'get',
    path: '/v1/limits',
    operationId: 'getLimits',
    summary: 'Every limit of the server, those of the project that asks, and what it uses of them.',
    tag: 'server',
    scope: 'any',
    status: 200,
    answer: json({
      type: 'object',
      required: ['object', 'limits', 'project', 'used'],
      properties: {
        object: { const: 'limits' },
        limits: { type: 'object' },
        project: { $ref: '#/components/schemas/ProjectLimits' },
        used: { $ref: '#/components/schemas/ProjectUse' },
      },
    }),
  },
  {
    method: 'get',
    path: '/v1/projects/{id}/limits',
    operationId: 'getProjectLimits',
    summary: 'What a project may ask for.',
    tag: 'access',
    scope: 'admin',
    status: 200,
    answer: json('ProjectLimits'),
  },
  {
    method: 'post',
    path: '/v1/projects/{id}/limits',
    operationId: 'setProjectLimits',
    summary: 'Set what a project may ask for: requests a minute, jobs and tokens at a time. null: no limit.',
    tag: 'access',
    scope: 'admin',
    request: { content: json('SetProjectLimitsRequest') },
    status: 200,
    answer: json('ProjectLimits'),
  },
];
