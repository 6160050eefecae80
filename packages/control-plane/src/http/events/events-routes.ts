import type { ApiRoute } from '../api-route.js';

export const EVENTS_ROUTES: readonly ApiRoute[] = [
  {
    method: 'get',
    path: '/v1/jobs/{id}/events',
    operationId: 'followJob',
    summary:
      'Server-sent events of a job: status, progress (at most one a second), finished. Each carries the job; the stream ends with the job. Last-Event-ID goes on behind an event, 204 says that it was the last.',
    tag: 'jobs',
    scope: 'read',
    query: { last_event_id: 'As the header Last-Event-ID.' },
    status: 200,
    answer: { 'text/event-stream': { type: 'string' } },
  },
];
