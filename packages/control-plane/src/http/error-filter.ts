import { PassThrough } from 'node:stream';
import { type ArgumentsHost, Catch, type ExceptionFilter, Inject } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { DomainError } from '../errors.js';
import { LOGGER } from '../tokens.js';
import { toAnthropicAnswer } from './anthropic/anthropic-problem.js';
import { dialectOf } from './dialect.js';
import { OutageLog } from './outage-log.js';
import { toDomainError, toProblem } from './problem.js';
import { ClientGoneError } from './request-context.js';
import { unknownRoute } from './unknown-route.js';

/** The one place where errors become answers. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #logger: Logger;
  readonly #outages = new OutageLog();

  constructor(@Inject(LOGGER) logger: Logger) {
    this.#logger = logger;
  }

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    if (error instanceof ClientGoneError || reply.raw.headersSent) {
      // Half an answer must never look whole.
      reply.raw.destroy();
      return;
    }
    const domain = this.#domainErrorOf(error, request, reply);
    const answer = dialectOf(request) === 'anthropic' ? toAnthropicAnswer : toProblem;
    const { status, headers, body } = answer(domain, request.id);
    if (status >= 500 && this.#outages.mayLog(domain.code)) {
      this.#logger.error(
        {
          requestId: request.id,
          route: request.routeOptions.url,
          code: domain.code,
          err: domain.cause ?? domain,
        },
        'request failed',
      );
    }
    void reply.status(status).headers(headers);
    if (isHalfRead(request)) sendBeforeClosing(request, reply, body);
    else {
      endUnreadBody(request, reply);
      void reply.send(body);
    }
  }

  #domainErrorOf(error: unknown, request: FastifyRequest, reply: FastifyReply): DomainError {
    const domain = toDomainError(error);
    if (domain.code !== 'not_found' || request.routeOptions.url !== undefined) return domain;
    const unknown = unknownRoute(request.method, request.url);
    if (unknown.allow !== null) reply.header('allow', unknown.allow);
    return unknown.error;
  }
}

/** A refused upload may go on this long behind the answer, so that the client gets to read it; then it is cut. */
const UNREAD_BODY_MS = 2_000;

const isHalfRead = ({ raw }: FastifyRequest): boolean => raw.complete === false && raw.readableDidRead;

/**
 * Nobody reads the rest of a body that was given up midway: the connection is of no use to a next request, and says so.
 * Closed at once, it would be reset under a client that still sends, and the answer lost. So the answer goes out whole,
 * and its end waits until the client has hung up.
 */
function sendBeforeClosing(request: FastifyRequest, reply: FastifyReply, body: object): void {
  const text = JSON.stringify(body);
  const answer = new PassThrough();
  answer.write(text);
  const timer = setTimeout(() => answer.end(), UNREAD_BODY_MS);
  request.raw.once('close', () => {
    clearTimeout(timer);
    answer.end();
  });
  void reply.headers({ connection: 'close', 'content-length': Buffer.byteLength(text) }).send(answer);
}

function endUnreadBody(request: FastifyRequest, reply: FastifyReply): void {
  if (request.raw.complete !== false) return;
  // Fastify would close the connection; Node.js reads and drops what comes, so that it serves the next request.
  reply.removeHeader('connection');
  reply.raw.once('finish', () => {
    const timer = setTimeout(() => {
      if (request.raw.complete === false) request.raw.destroy();
    }, UNREAD_BODY_MS);
    timer.unref();
  });
}
