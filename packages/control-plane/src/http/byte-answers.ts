import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';
import { headerOf } from './request-context.js';

/** Bytes that do not change: of known size, and to be read from any place. */
export interface FixedBytes {
  readonly size: number;
  /** A strong one, in its quotes: the same bytes, the same tag. */
  readonly etag: string;
  readonly open: (range: { offset: number; length: number }) => Promise<Readable> | Readable;
}

/**
 * Sends bytes so that a client can tell a cut answer, and go on where it was: with their length, `ETag`, `Range` (one
 * range; of several the whole is sent), `If-Range` and `If-None-Match`.
 * @throws DomainError `range_not_satisfiable` with the size in `Content-Range`
 */
export async function sendBytes(
  request: FastifyRequest,
  reply: FastifyReply,
  { size, etag, open }: FixedBytes,
): Promise<void> {
  reply.headers({ 'accept-ranges': 'bytes', etag, 'cache-control': 'private, no-cache' });
  if (isKnown(request, etag)) {
    await reply.status(304).send();
    return;
  }
  const range = rangeOf(request, size, etag);
  if (range === 'unsatisfiable') {
    reply.header('content-range', `bytes */${size}`);
    throw new DomainError(
      'range_not_satisfiable',
      `The range begins behind the end: there are ${size} bytes.`,
      {
        param: 'range',
      },
    );
  }
  const { offset, length } = range ?? { offset: 0, length: size };
  if (range !== null) {
    reply.status(206).header('content-range', `bytes ${offset}-${offset + length - 1}/${size}`);
  }
  const body = length === 0 ? Readable.from([]) : await open({ offset, length });
  await sendStream(request, reply.header('content-length', String(length)), body);
}

/**
 * Sends a stream. When it breaks its connection is cut, so that half an answer never looks whole: over HTTP/1.0, where the
 * end of the connection is the end of the answer, by a reset.
 */
export async function sendStream(
  request: FastifyRequest,
  reply: FastifyReply,
  body: Readable,
): Promise<void> {
  if (request.raw.httpVersion === '1.0') body.once('error', () => request.raw.socket.resetAndDestroy());
  await reply.send(body);
}

function isKnown(request: FastifyRequest, etag: string): boolean {
  const tags = headerOf(request, 'if-none-match')?.split(',') ?? [];
  return tags.some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}

/** `null`: no range was asked for, or the bytes have changed since it was, or it is one that need not be understood. */
function rangeOf(
  request: FastifyRequest,
  size: number,
  etag: string,
): { offset: number; length: number } | 'unsatisfiable' | null {
  const condition = headerOf(request, 'if-range');
  if (condition !== undefined && condition.trim() !== etag) return null;
  const match = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/.exec(headerOf(request, 'range') ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (first === '' && last === '') return null;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const offset = Number(first);
  if (last !== '' && Number(last) < offset) return null;
  if (offset >= size) return 'unsatisfiable';
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return { offset, length: end - offset + 1 };
}
