import { newId } from '@batch-infer/contracts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { SECURITY_HEADERS } from './security-headers.js';

/**
 * Gives every request an id of ours and sends it back on every answer, errors and unknown routes among them, under the
 * names of both dialects.
 */
export function registerRequestContext(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', async (request, reply) => {
    request.id = newId('req');
    reply.headers({ ...SECURITY_HEADERS, 'x-request-id': request.id, 'request-id': request.id });
  });
}

/**
 * A signal that aborts when the client is gone before the answer was sent: long polls end, and a create that nobody
 * waits for any more is not committed.
 */
export function clientSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  const response = reply.raw;
  if (response.closed) controller.abort(new ClientGoneError());
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new ClientGoneError());
  });
  return controller.signal;
}

/** The client closed its connection; nobody reads the answer. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
  constructor() {
    super('The client closed the connection before the answer was sent.');
  }
}

/** One header's value; the first when it came several times. */
export function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
