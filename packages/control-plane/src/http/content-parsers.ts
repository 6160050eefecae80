import type { IncomingMessage } from 'node:http';
import { LIMITS } from '@batch-infer/contracts';
import { findJsonFault, nestsDeeperThan } from '@batch-infer/contracts/jsonl';
import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';

/**
 * How bodies are read, for the whole server:
 * - JSON: whole, up to `LIMITS.jsonBodyBytes`; an empty body is `undefined` (Python's DELETE and cancel send
 *   `content-type: application/json` with nothing behind it).
 * - NDJSON and octet streams: not at all; the handler gets the stream and enforces its own cap.
 * - multipart: part by part, by the handler.
 */
export async function registerContentParsers(fastify: FastifyInstance): Promise<void> {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer', bodyLimit: LIMITS.jsonBodyBytes },
    async (_request: FastifyRequest, body: Buffer) => parseJson(body),
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
