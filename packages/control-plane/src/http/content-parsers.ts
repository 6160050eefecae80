import type { IncomingMessage } from 'node:http';
import { LIMITS } from '@batch-infer/contracts';
import { findJsonFault, nestsDeeperThan } from '@batch-infer/contracts/jsonl';
import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';

/**
 * How bodies are read, for the whole server:
 * - JSON: whole, up to `LIMITS.jsonBodyBytes`; an empty body is `undefined` (Python's DELETE and cancel send
 *   `content-type: application/json` with nothing behind it). Routes marked `STREAMED_BODY` get the stream instead.
 * - NDJSON and octet streams: not at all; the handler gets the stream and enforces its own cap.
 * - multipart: part by part, by the handler.
 */
export async function registerContentParsers(fastify: FastifyInstance): Promise<void> {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser(
    'application/json',
    async (request: FastifyRequest, payload: IncomingMessage) =>
      streamsBody(request) ? payload : parseJson(await readJsonBody(request, payload)),
  );
  fastify.addContentTypeParser(
    ['application/x-ndjson', 'application/jsonl', 'application/jsonlines', 'application/octet-stream'],
    async (_request: FastifyRequest, payload: IncomingMessage) => payload,
  );
  await fastify.register(multipart, {
    throwFileSizeLimit: false,
    limits: {
      fileSize: LIMITS.fileBytes + 1,
      files: 2,
      fields: 16,
      parts: 18,
      fieldSize: 64 * 1024,
      fieldNameSize: 256,
    },
  });
}

/** `@RouteConfig(STREAMED_BODY)`: the handler reads the JSON itself while it arrives, and enforces its own cap. */
export const STREAMED_BODY = { streamedBody: true } as const;

function streamsBody(request: FastifyRequest): boolean {
  const { config } = request.routeOptions;
  return 'streamedBody' in config && config.streamedBody === true;
}

/** @throws DomainError `body_too_large`, `invalid_request` when the body breaks off */
async function readJsonBody(request: FastifyRequest, payload: IncomingMessage): Promise<Buffer> {
  const tooLarge = (): DomainError =>
    new DomainError(
      'body_too_large',
      `The body is larger than ${LIMITS.jsonBodyBytes} bytes, the limit of a JSON body. Send larger inputs as a file or as application/x-ndjson.`,
    );
  if (Number(request.headers['content-length']) > LIMITS.jsonBodyBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of payload.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > LIMITS.jsonBodyBytes) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof DomainError) throw cause;
    throw new DomainError('invalid_request', 'The body ended before it was complete. Send it again.', {
      cause,
    });
  }
  return Buffer.concat(chunks);
}

/** Levels that an inline item may nest, and what stands around it. */
const BODY_DEPTH = LIMITS.lineDepth + 4;
const decoder = new TextDecoder('utf-8', { fatal: true });

/** @throws DomainError `invalid_json` that says where, and never quotes the body. */
function parseJson(bytes: Buffer): unknown {
  if (nestsDeeperThan(bytes, BODY_DEPTH)) {
    throw new DomainError('invalid_json', `The body nests deeper than ${BODY_DEPTH} levels.`);
  }
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch (cause) {
    throw new DomainError('invalid_json', 'The body is not valid UTF-8.', { cause });
  }
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text.
    const { column, reason } = findJsonFault(text);
    throw new DomainError('invalid_json', `The body is not valid JSON: ${reason} (character ${column}).`);
  }
}
