import type { IncomingMessage } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LIMITS } from '@batch-infer/contracts';
import {
  countMembers,
  findJsonFault,
  findRepeatedKey,
  type JsonExcess,
  JsonMeter,
} from '@batch-infer/contracts/jsonl';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';

/** Levels that an inline item may nest, and what stands around it. */
const BODY_DEPTH = LIMITS.lineDepth + 4;
const BOUNDS = {
  depth: BODY_DEPTH,
  values: LIMITS.jsonValues,
  members: LIMITS.jsonMembers,
  objectMembers: LIMITS.jsonObjectMembers,
};

/** Bytes that are looked at before others get their turn. */
const SLICE_BYTES = 256 * 1024;
/** Smaller bodies are read in one turn. */
const LARGE_BYTES = 256 * 1024;

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The bytes of JSON bodies by their request, for whoever must hand them on as they came. They go with their request. */
const bytesByRequest = new WeakMap<FastifyRequest, Buffer>();

const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * A request's JSON body as the bytes that came, for what is handed on as it was sent. To be taken once: a handler that
 * waits for minutes must not hold them.
 */
export function takeJsonBytes(request: FastifyRequest): Buffer {
  const bytes = bytesByRequest.get(request) ?? Buffer.from(JSON.stringify(request.body ?? null));
  bytesByRequest.delete(request);
  return bytes.subarray(0, BOM.length).equals(BOM) ? bytes.subarray(BOM.length) : bytes;
}

/**
 * Reads a JSON body whole, held to its bounds while it comes in and before anything is built of it; an empty one is
 * `undefined`. Nobody else waits long for a large one: each step is a turn of its own.
 * @throws DomainError `body_too_large`, `invalid_json`, `invalid_request` when the body breaks off or repeats a key
 */
export async function readJsonBody(request: FastifyRequest, payload: IncomingMessage): Promise<unknown> {
  const bytes = await readBytes(request, payload);
  const large = bytes.length > LARGE_BYTES;
  const turn = async (): Promise<void> => {
    if (large) await nextTurn();
  };
  const text = decode(bytes);
  if (text.trim() === '') return undefined;
  await turn();
  const value = parse(text);
  await turn();
  const members = countMembers(value, BODY_DEPTH);
  await turn();
  const repeated = members === null ? null : findRepeatedKey(text, members);
  if (repeated !== null) {
    throw new DomainError(
      'invalid_request',
      `${repeated} stands twice in one object. Readers do not agree on which of the two counts: send one.`,
      { param: repeated },
    );
  }
  await turn();
  bytesByRequest.set(request, bytes);
  return value;
}

async function readBytes(request: FastifyRequest, payload: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length']) > LIMITS.jsonBodyBytes) throw tooLarge();
  const meter = new JsonMeter(BOUNDS);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of payload.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > LIMITS.jsonBodyBytes) throw tooLarge();
      await measure(meter, chunk);
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

/** @throws DomainError `invalid_json` */
async function measure(meter: JsonMeter, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
    if (at > 0) await nextTurn();
    const excess = meter.push(chunk.subarray(at, at + SLICE_BYTES));
    if (excess !== null) throw new DomainError('invalid_json', EXCESS[excess]);
  }
}

const AS_A_FILE = 'Send larger inputs as a file or as application/x-ndjson.';

const EXCESS: Readonly<Record<JsonExcess, string>> = {
  depth: `The body nests deeper than ${BODY_DEPTH} levels.`,
  values: `The body has more than ${LIMITS.jsonValues} values, the limit of a JSON body. ${AS_A_FILE}`,
  members: `The body has more than ${LIMITS.jsonMembers} keys, the limit of a JSON body. ${AS_A_FILE}`,
  objectMembers: `The body has an object of more than ${LIMITS.jsonObjectMembers} keys, the limit of one object.`,
};

const tooLarge = (): DomainError =>
  new DomainError(
    'body_too_large',
    `The body is larger than ${LIMITS.jsonBodyBytes} bytes, the limit of a JSON body. ${AS_A_FILE}`,
  );

function decode(bytes: Buffer): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new DomainError('invalid_json', 'The body is not valid UTF-8.', { cause });
  }
}

/** @throws DomainError `invalid_json` that says where, and never quotes the body. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text.
    const { column, reason } = findJsonFault(text);
    throw new DomainError('invalid_json', `The body is not valid JSON: ${reason} (character ${column}).`);
  }
}
