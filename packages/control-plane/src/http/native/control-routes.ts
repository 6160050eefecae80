import { type ApiRoute, json } from '../api-route.js';

/** Holding a job back and letting it go on. */
export const CONTROL_ROUTES: readonly ApiRoute[] = [
  {
    method: 'post',
    path: '/v1/jobs/{id}/pause',
    operationId: 'pauseJob',
    summary: 'Hold a job back: nothing of it starts, what runs is given back. Its completion window goes on.',
    tag: 'jobs',
    scope: 'write',
    status: 200,
    answer: json('Job'),
  },
  {
    method: 'post',
    path: '/v1/jobs/{id}/resume',
    operationId: 'resumeJob',
    summary: 'Let a paused job go on.',
    tag: 'jobs',
    scope: 'write',
    status: 200,
    answer: json('Job'),
  },
];
