import type { IncomingMessage } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LIMITS } from '@batch-infer/contracts';
import {
  countMembers,
  findJsonFault,
  findRepeatedKey,
  type JsonExcess,
  JsonMeter,
  LONG_TEXT_BYTES,
  type ParsedJson,
  parseJsonSteps,
  STEP_BYTES,
  searchRepeatedKeySteps,
} from '@batch-infer/contracts/jsonl';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';
import { inTurns } from '../ingest/in-turns.js';

/** Levels that an inline item may nest, and what stands around it. */
const BODY_DEPTH = LIMITS.lineDepth + 4;
const BOUNDS = {
  depth: BODY_DEPTH,
  values: LIMITS.jsonValues,
  members: LIMITS.jsonMembers,
  objectMembers: LIMITS.jsonObjectMembers,
};

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
  return withoutBom(bytes);
}

const withoutBom = (bytes: Buffer): Buffer =>
  bytes.subarray(0, BOM.length).equals(BOM) ? bytes.subarray(BOM.length) : bytes;

/**
 * Reads a JSON body whole, held to its bounds while it comes in and before anything is built of it; an empty one is
 * `undefined`. Nobody else waits long for a large one: each step is a turn of its own.
 * @throws DomainError `body_too_large`, `invalid_json`, `invalid_request` when the body breaks off or repeats a key
 */
export async function readJsonBody(request: FastifyRequest, payload: IncomingMessage): Promise<unknown> {
  const { bytes, members } = await readBytes(request, payload);
  const value =
    bytes.length > LONG_TEXT_BYTES
      ? await parseInTurns(withoutBom(bytes), members)
      : parseAtOnce(bytes, members);
  if (value !== undefined) bytesByRequest.set(request, bytes);
  return value;
}

/** @param keys as many as stand in the text */
function parseAtOnce(bytes: Buffer, keys: number): unknown {
  const text = decode(bytes);
  if (text.trim() === '') return undefined;
  const value = parse(text);
  const members = countMembers(value, BODY_DEPTH);
  assertNoneRepeated(members === null ? null : findRepeatedKey(text, members, keys));
  return value;
}

/** @param members as many as the text has */
async function parseInTurns(bytes: Buffer, members: number): Promise<unknown> {
  let parsed: ParsedJson;
  try {
    parsed = await inTurns(parseJsonSteps(bytes));
  } catch {
    await nextTurn();
    const text = decode(bytes);
    await nextTurn();
    if (text.trim() === '') return undefined;
    await nextTurn();
    throw notJson(text);
  }
  if (parsed.members === members) return parsed.value;
  await nextTurn();
  assertNoneRepeated(await inTurns(searchRepeatedKeySteps(decode(bytes))));
  return parsed.value;
}

/** @throws DomainError `invalid_request` */
function assertNoneRepeated(repeated: string | null): void {
  if (repeated === null) return;
  throw new DomainError(
    'invalid_request',
    `${repeated} stands twice in one object. Readers do not agree on which of the two counts: send one.`,
    { param: repeated },
  );
}

async function readBytes(
  request: FastifyRequest,
  payload: IncomingMessage,
): Promise<{ bytes: Buffer; members: number }> {
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
  return { bytes: Buffer.concat(chunks), members: meter.members };
}

/** @throws DomainError `invalid_json` */
async function measure(meter: JsonMeter, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length; at += STEP_BYTES) {
    if (at > 0) await nextTurn();
    const excess = meter.push(chunk.subarray(at, at + STEP_BYTES));
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
    throw notJson(text);
  }
}

/** The parser's own message quotes the text. */
function notJson(text: string): DomainError {
  const { column, reason } = findJsonFault(text);
  return new DomainError('invalid_json', `The body is not valid JSON: ${reason} (character ${column}).`);
}
