import type { Readable } from 'node:stream';
import { type InputError, LIMITS } from '@batch-infer/contracts';
import { MESSAGE_CUSTOM_ID } from '@batch-infer/contracts/anthropic';
import {
  allSteps,
  findJsonFault,
  JsonMeter,
  type LineFault,
  type ScanOptions,
  type ScanResult,
  STEP_BYTES,
  type Steps,
} from '@batch-infer/contracts/jsonl';
import { DomainError } from '../errors.js';
import { ArrayCutter } from './array-cutter.js';
import { inTurns } from './in-turns.js';
import { JsonSyntaxError, jsonMembers } from './json-value-scanner.js';

export const MESSAGES_ENDPOINT = '/v1/messages';
const SPACE = 0x20;
const BLANK_LINE = Buffer.from('\n');

/** What stands around a request's `params` in its line is less than this. */
const LINE_ROOM = 1_024;

interface RequestFault extends LineFault {
  readonly index: number;
}

/**
 * The body of a message batch on its way to being a JSONL input: one line for each request, in order, its `params` as the
 * bytes that came. A request that cannot be a line leaves a blank one, so that line numbers stay request numbers.
 */
export class MessageRequests {
  readonly #maxBytes: number;
  readonly #faults: RequestFault[] = [];
  #faultCount = 0;
  /** Faults of the body as a whole. */
  readonly #bodyErrors: InputError[] = [];
  #lines: Buffer[] = [];
  /** Requests of the last chunk; `null`: longer than one may be. */
  readonly #cutOut: { readonly index: number; readonly bytes: Buffer | null }[] = [];
  readonly #cutter = new ArrayCutter({
    key: 'requests',
    maxElementBytes: LIMITS.lineBytes - LINE_ROOM,
    handlers: {
      element: (index, bytes) => this.#cutOut.push({ index, bytes }),
      otherKey: (key) => this.#refuseKey(key),
      notAnArray: () => this.#bodyError('invalid_parameter', 'requests', 'requests must be an array'),
    },
  });

  constructor({ maxBytes = LIMITS.messageBatchBytes }: { maxBytes?: number } = {}) {
    this.#maxBytes = maxBytes;
  }

  /** How the lines are to be scanned. */
  readonly scanOptions: ScanOptions = {
    endpoint: MESSAGES_ENDPOINT,
    requireComplete: true,
    maxItems: LIMITS.messageBatchItems,
    judge: judgeRequest,
  };

  /**
   * The lines, in pieces.
   * @throws DomainError `body_too_large`, `invalid_json`; the source's own error
   */
  async *linesOf(body: Readable): AsyncGenerator<Buffer> {
    let bytes = 0;
    for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > this.#maxBytes) throw messageBatchTooLarge();
      this.#cut(() => this.#cutter.push(chunk));
      for (const { index, bytes: request } of this.#cutOut.splice(0)) await this.#take(index, request);
      if (this.#lines.length === 0) continue;
      yield Buffer.concat(this.#lines);
      this.#lines = [];
    }
    this.#cut(() => this.#cutter.end());
    if (!this.#cutter.found) this.#bodyError('missing_parameter', 'requests', 'requests is missing');
    else if (this.#cutter.elements === 0 && this.#bodyErrors.length === 0)
      this.#bodyError('invalid_parameter', 'requests', 'requests must have at least one request');
  }

  /** All that is wrong, under the names that the client gave: `requests.3.custom_id`. */
  judge(scan: ScanResult): { errors: InputError[]; errorCount: number } {
    // Without a single line the scanner has nothing to say that was not said better here.
    const refusedEmpty =
      scan.errors[0]?.code === 'empty_file' && this.#faultCount + this.#bodyErrors.length > 0;
    const scanned = refusedEmpty ? [] : scan.errors.map(toRequestFault);
    const faults = [...this.#faults, ...scanned].sort((left, right) => left.index - right.index);
    return {
      errors: [...this.#bodyErrors, ...faults.map(toInputError)].slice(0, LIMITS.reportedErrors),
      errorCount: this.#bodyErrors.length + this.#faultCount + (refusedEmpty ? 0 : scan.errorCount),
    };
  }

  #cut(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      throw new DomainError(
        'invalid_json',
        `The body is not valid JSON: ${error.message} (byte ${error.offset}).`,
        { cause: error },
      );
    }
  }

  /** @throws DomainError `invalid_file` behind the last request that may be: the rest is not looked at */
  async #take(index: number, bytes: Buffer | null): Promise<void> {
    if (index >= LIMITS.messageBatchItems) throw tooManyRequests();
    const line = bytes === null ? tooLong : await toLine(bytes);
    if (Buffer.isBuffer(line)) {
      this.#lines.push(line);
      return;
    }
    this.#lines.push(BLANK_LINE);
    this.#faultCount += 1;
    if (this.#faults.length < LIMITS.reportedErrors) this.#faults.push({ index, ...line });
  }

  #refuseKey(key: string): void {
    const param = key.slice(0, 80);
    this.#bodyError('unknown_parameter', param, `${param} is not a known parameter, or stands there twice`);
  }

  #bodyError(code: string, param: string, message: string): void {
    if (this.#bodyErrors.length < LIMITS.reportedErrors)
      this.#bodyErrors.push({ line: null, param, code, message });
  }
}

function tooManyRequests(): DomainError {
  const message = `requests has more than ${LIMITS.messageBatchItems} requests, the limit of one batch`;
  return new DomainError('invalid_file', `${message}. Split it.`, {
    param: 'requests',
    errors: [{ line: null, param: 'requests', code: 'too_many_items', message }],
  });
}

/** Requests that are larger have their values counted before they are looked at. */
const LARGE_BYTES = 64 * 1024;
const BOUNDS = {
  depth: LIMITS.lineDepth + 1,
  values: LIMITS.jsonValues,
  members: LIMITS.jsonMembers,
  objectMembers: LIMITS.jsonObjectMembers,
};
const tooMuch: LineFault = {
  code: 'too_many_values',
  param: null,
  message: `has more than ${LIMITS.jsonValues} values, ${LIMITS.jsonMembers} keys (${LIMITS.jsonObjectMembers} in one object) or ${LIMITS.lineDepth} levels, the limits of one request`,
};

const tooLong: LineFault = {
  code: 'line_too_long',
  param: null,
  message: `is longer than ${LIMITS.lineBytes} bytes, the limit of one request`,
};

export const messageBatchTooLarge = (): DomainError =>
  new DomainError(
    'body_too_large',
    `The body is larger than ${LIMITS.messageBatchBytes} bytes, the limit of one message batch. Split it.`,
  );

function* isWithinBounds(request: Buffer): Steps<boolean> {
  const meter = new JsonMeter(BOUNDS);
  for (let at = 0; at < request.length; at += STEP_BYTES) {
    if (meter.push(request.subarray(at, at + STEP_BYTES)) !== null) return false;
    yield;
  }
  return true;
}

/** One request as a line; a large one lets others have their turn meanwhile. */
const toLine = (request: Buffer): Promise<Buffer | LineFault> | Buffer | LineFault =>
  request.length > LARGE_BYTES ? inTurns(lineSteps(request)) : allSteps(lineSteps(request));

/** Bytes of values stay as they came, but for line breaks between them. */
function* lineSteps(request: Buffer): Steps<Buffer | LineFault> {
  if (request.length > LARGE_BYTES && !(yield* isWithinBounds(request))) return tooMuch;
  const members = jsonMembers(request);
  if (members === null) return brokenRequest(request);
  const parts: string[] = [];
  let customId: Buffer | null = null;
  let params: Buffer | null = null;
  for (const { key, start, end } of members) {
    if (key === 'custom_id') customId = request.subarray(start, end);
    else if (key === 'params') params = request.subarray(start, end);
    else parts.push(key);
  }
  const keys = new Set<string>();
  for (const { key } of members) {
    const param = key.slice(0, 80);
    if (keys.has(key)) return { code: 'repeated_key', param, message: `${param} stands twice in one object` };
    keys.add(key);
  }
  const [unknown] = parts;
  if (unknown !== undefined) {
    const param = unknown.slice(0, 80);
    return { code: 'unknown_parameter', param, message: `${param} is not a known parameter` };
  }
  const pieces: Buffer[] = [];
  if (customId !== null) pieces.push(Buffer.from('"custom_id":'), customId);
  if (params !== null) pieces.push(Buffer.from(customId === null ? '"body":' : ',"body":'), params);
  const line = Buffer.concat([Buffer.from('{'), ...pieces, Buffer.from('}\n')]);
  // Strings hold no line breaks: they were refused. Those that are left are white space.
  for (let at = 0; at < line.length - 1; at += 1) {
    if (line[at] === 0x0a || line[at] === 0x0d) line[at] = SPACE;
    if (at % STEP_BYTES === STEP_BYTES - 1) yield;
  }
  return line;
}

function brokenRequest(request: Buffer): LineFault {
  const text = request.toString('utf8');
  try {
    JSON.parse(text);
    return { code: 'not_an_object', param: null, message: 'must be an object' };
  } catch {
    return { code: 'invalid_json', param: null, message: `is not valid JSON: ${findJsonFault(text).reason}` };
  }
}

/** Anthropic's rules for a request, as far as they go beyond those for any line. */
function judgeRequest(line: Readonly<Record<string, unknown>>): LineFault | null {
  const { custom_id: customId, body } = line;
  const refuse = (code: string, param: string, message: string): LineFault => ({ code, param, message });
  if (customId === undefined) return refuse('missing_custom_id', 'custom_id', 'custom_id is missing');
  if (typeof customId !== 'string' || !MESSAGE_CUSTOM_ID.test(customId)) {
    return refuse(
      'invalid_custom_id',
      'custom_id',
      `custom_id must be a string that matches ${MESSAGE_CUSTOM_ID.source}`,
    );
  }
  if (body === undefined) return refuse('missing_parameter', 'body', 'body is missing');
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return null;
  const maxTokens = (body as { max_tokens?: unknown }).max_tokens;
  if (maxTokens === undefined || maxTokens === null)
    return refuse('missing_parameter', 'body.max_tokens', 'body.max_tokens is missing');
  if (typeof maxTokens === 'number' && Number.isInteger(maxTokens) && maxTokens >= 1) return null;
  return refuse(
    'invalid_parameter',
    'body.max_tokens',
    'body.max_tokens must be a whole number of at least 1',
  );
}

/** A fault of a line in the client's words: `params` for `body`, `requests.N` for lines. */
function toRequestFault({ line, param, code, message }: InputError): RequestFault {
  const text = message
    .replace(/^Line \d+:? /, '')
    .replace(/ \(column \d+\)$/, '')
    .replace(/ of line (\d+)$/, (_, first: string) => ` of requests.${Number(first) - 1}`)
    .replace(/, and the job has no model to use instead$/, '')
    .replace(/the limit of one file is/, 'the limit of one batch is')
    .replaceAll(/\bbody(?=[. ])/g, 'params');
  return { index: (line ?? 1) - 1, code, param: param?.replace(/^body\b/, 'params') ?? null, message: text };
}

function toInputError({ index, param, code, message }: RequestFault): InputError {
  const path = `requests.${index}`;
  if (param === null) return { line: null, param: path, code, message: `${path} ${message}` };
  const named = `${path}.${param}`;
  const text = message.startsWith(`${param} `)
    ? `${named}${message.slice(param.length)}`
    : `${named}: ${message}`;
  return { line: null, param: named, code, message: text };
}
