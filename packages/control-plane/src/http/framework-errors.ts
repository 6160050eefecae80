import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { newId } from '@batch-infer/contracts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';
import { toAnthropicAnswer } from './anthropic/anthropic-problem.js';
import { dialectOf } from './dialect.js';
import { toProblem } from './problem.js';
import { SECURITY_HEADERS } from './security-headers.js';

/** Errors that come before any hook of ours: an address that cannot be read. */
export function answerFrameworkError(_error: Error, request: FastifyRequest, reply: FastifyReply): void {
  const error = new DomainError(
    'invalid_request',
    'The path of the request cannot be read: a "%" must begin the code of a character, such as %20. Encode ids and names before they go into a path.',
  );
  const id = newId('req');
  const answer = dialectOf(request) === 'anthropic' ? toAnthropicAnswer : toProblem;
  const { status, headers, body } = answer(error, id);
  void reply
    .status(status)
    .headers({ ...SECURITY_HEADERS, ...headers, 'x-request-id': id, 'request-id': id })
    .send(body);
}

/** Requests that Node.js could not read as HTTP: answered like any other, then the connection is closed. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(rawProblem(clientError(error.code)));
}

function clientError(code: string | undefined): DomainError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new DomainError(
        'headers_too_large',
        'The headers and the path are larger than 16384 bytes, the limit of a request. Send long values in the body.',
      );
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new DomainError('request_timeout', 'The headers did not come in time. Send the request again.');
    default:
      return new DomainError(
        'invalid_request',
        'The request is not valid HTTP/1.1. Is it HTTPS or HTTP/2 sent to a port for plain HTTP?',
      );
  }
}

/** A whole answer as it goes over the wire, for connections of which there is no request, or not any more. */
export function rawProblem(error: DomainError): string {
  const id = newId('req');
  const { status, headers, body } = toProblem(error, id);
  const text = JSON.stringify(body);
  const lines = Object.entries({
    ...SECURITY_HEADERS,
    ...headers,
    'x-request-id': id,
    connection: 'close',
    'content-length': String(Buffer.byteLength(text)),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${text}`;
}
