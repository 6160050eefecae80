import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { LIMITS } from '@batch-infer/contracts';
import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';
import { readJsonBody } from './json-body.js';

/** Bytes of one field of a form: names and numbers. */
export const FORM_FIELD_BYTES = 64 * 1024;

/**
 * How bodies are read, for the whole server:
 * - an empty body is none, whatever its content type: `curl -X POST -d ''` names one, and so do SDKs.
 * - JSON: whole, up to `LIMITS.jsonBodyBytes`. Routes marked `STREAMED_BODY` get the stream instead.
 * - NDJSON and octet streams: not at all; the handler gets the stream and enforces its own cap.
 * - multipart: part by part, by the handler.
 */
export async function registerContentParsers(fastify: FastifyInstance): Promise<void> {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser(
    'application/json',
    async (request: FastifyRequest, payload: IncomingMessage) =>
      streamsBody(request) ? payload : readJsonBody(request, payload),
  );
  fastify.addContentTypeParser(
    ['application/x-ndjson', 'application/jsonl', 'application/jsonlines', 'application/octet-stream'],
    async (_request: FastifyRequest, payload: IncomingMessage) => payload,
  );
  fastify.addContentTypeParser('*', async (request: FastifyRequest, payload: IncomingMessage) => {
    await assertEmpty(request, payload);
    return undefined;
  });
  await fastify.register(multipart, {
    throwFileSizeLimit: false,
    limits: {
      fileSize: LIMITS.fileBytes + 1,
      files: 8,
      fields: 16,
      parts: 24,
      fieldSize: FORM_FIELD_BYTES,
      fieldNameSize: 256,
    },
  });
}

/** `@RouteConfig(STREAMED_BODY)`: the handler reads the JSON itself while it arrives, and enforces its own cap. */
export const STREAMED_BODY = { streamedBody: true } as const;

export function streamsBody(request: FastifyRequest): boolean {
  const { config } = request.routeOptions;
  return 'streamedBody' in config && config.streamedBody === true;
}

/** @throws DomainError `unsupported_media_type` for a body of which a single byte comes */
export async function assertEmpty(request: FastifyRequest, body: Readable): Promise<void> {
  for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    if (chunk.length > 0) throw unsupported(request);
  }
}

/** Says what was sent, what is taken, and where curl chose the type by itself how to choose another. */
function unsupported(request: FastifyRequest): DomainError {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  const named =
    type === '' ? 'A body without a content type' : `The content type ${JSON.stringify(type.slice(0, 80))}`;
  const curl =
    type === 'application/x-www-form-urlencoded'
      ? ' curl -d sends this type by itself: add -H "content-type: application/json"; for a file use -F purpose=batch -F file=@in.jsonl.'
      : ' Send application/json, application/x-ndjson, or multipart/form-data for files.';
  return new DomainError('unsupported_media_type', `${named} is not supported here.${curl}`, {
    param: 'content-type',
  });
}
