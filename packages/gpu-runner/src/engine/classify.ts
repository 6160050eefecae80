import { isUtf8 } from 'node:buffer';
import { type FailureCode, LIMITS, toSingleLine } from '@batch-infer/contracts';
import { isDeeperThan } from '../work/json-scan.js';
import {
  endingOf,
  type FinishReason,
  finishReasonOf,
  isJsonObject,
  type Json,
  parseJsonObject,
  type Usage,
  usageOf,
} from './answer.js';
import { engineWords } from './engine-words.js';
import { type BrokenConnection, type EngineAnswer, type EngineReply, isOutOfFiles } from './reply.js';
import { withWholeUsage } from './response-usage.js';
import { describeUnusable } from './unusable.js';

/** The engine's answer as it goes into a segment. */
export interface Success {
  readonly ok: true;
  readonly status: number;
  /** One line of JSON. */
  readonly body: Uint8Array;
  readonly usage: Usage | undefined;
  /** `null` where the endpoint has no such word. */
  readonly finishReason: FinishReason | null;
}

export interface Failure {
  readonly ok: false;
  readonly code: FailureCode;
  /** 0 when there was no answer. */
  readonly status: number;
  /** The engine's own words. */
  readonly message: string | undefined;
  /** The engine's error body when it is JSON; else empty. */
  readonly body: Uint8Array;
  readonly retryAfterMs: number | null;
  /** The engine would give the same answer again: one more attempt is enough to see that. */
  readonly saidAgain?: boolean;
  /** What became of the connection, when that is why. */
  readonly broken: BrokenConnection | null;
}

/** A judged reply; `null` for one that we ended ourselves. */
export type Verdict = Success | Failure;

const OUT_OF_FILES =
  'The runner has no file left for a connection (EMFILE): raise its limit of open files (ulimit -n).';
const RESPONSES_PATH = '/v1/responses';

const EMPTY = new Uint8Array(0);
const TOO_DEEP = `The answer is nested deeper than ${LIMITS.answerDepth} levels (limit answerDepth).`;

/** The one place where status codes and engines' texts are looked at (`path`: the endpoint that was called). */
export function classify(path: string, reply: EngineReply): Verdict | null {
  switch (reply.kind) {
    case 'aborted':
      return null;
    case 'timeout':
      return failure('item_timeout');
    case 'too_large':
      return failure('answer_too_large');
    case 'unreadable':
      return failure('invalid_response');
    case 'broken':
      return failure(reply.broken === 'refused' ? 'engine_unreachable' : 'connection_lost', {
        broken: reply.broken,
        ...(isOutOfFiles(reply) ? { message: OUT_OF_FILES } : {}),
      });
    case 'answer':
      return reply.status >= 200 && reply.status < 300 ? classifySuccess(path, reply) : classifyError(reply);
  }
}

function failure(code: FailureCode, details: Partial<Omit<Failure, 'ok' | 'code'>> = {}): Failure {
  return {
    ok: false,
    code,
    status: 0,
    message: undefined,
    body: EMPTY,
    retryAfterMs: null,
    broken: null,
    ...details,
  };
}

function classifySuccess(path: string, reply: EngineAnswer): Verdict {
  const text = reply.body.toString('utf8');
  const answer = parseJsonObject(text);
  const { status } = reply;
  if (answer === null) return unusable(reply, text);
  if (isDeeperThan(reply.body, LIMITS.answerDepth))
    return failure('invalid_response', { status, message: TOO_DEEP });
  if (isJsonObject(answer.error) && answer.choices === undefined) {
    const code = typeof answer.error.code === 'number' && answer.error.code >= 400 ? answer.error.code : 500;
    return { ...classifyError({ ...reply, status: code }), status };
  }
  const ending = endingOf(path, answer);
  if (ending === 'complete') {
    const whole = path === RESPONSES_PATH ? withWholeUsage(text, answer) : text;
    const body = lineOf(reply.body, text, whole);
    // Bytes that are no UTF-8, and line separators, take more room once they are written safely.
    if (body.length > LIMITS.answerBytes) return failure('answer_too_large', { status });
    return { ok: true, status, body, usage: usageOf(answer), finishReason: finishReasonOf(path, answer) };
  }
  // A partial answer is never a result, and never shown as one.
  if (ending === 'aborted') return failure('engine_aborted', { status });
  return ending === 'failed' ? failure('engine_error', { status }) : unusable(reply, text);
}

const unusable = (reply: EngineAnswer, text: string): Failure =>
  failure('invalid_response', { status: reply.status, ...describeUnusable(reply, text) });

/** The bytes as they came when their text is one safe line already and nothing of it is to be changed; else rewritten. */
function lineOf(bytes: Buffer, text: string, changed: string = text): Uint8Array {
  const line = toSingleLine(changed);
  return line === text && isUtf8(bytes) ? bytes : Buffer.from(line);
}

/** vLLM says these when its engine core is gone or going; the request itself is not to blame. */
const ENGINE_GOING_AWAY =
  /EngineCore|cannot schedule new futures|EngineDeadError|engine (?:process )?(?:is dead|has died|loop)/i;
const CONTEXT_LENGTH =
  /context (?:length|size|window)|maximum (?:input|sequence|model) length|longer than the maximum model|max_model_len/i;

function classifyError(reply: EngineAnswer): Failure {
  const text = reply.body.toString('utf8');
  // We follow no redirects, and an informational status is no end of an answer.
  if (reply.status < 400) return unusable(reply, text);
  const json = parseJsonObject(text);
  const error = isJsonObject(json?.error) ? json.error : json;
  const message = engineWords(text, json ?? parseJson(text));
  return failure(codeOf(reply.status, error, message ?? ''), {
    status: reply.status,
    message,
    body: json === null ? EMPTY : lineOf(reply.body, text),
    retryAfterMs: reply.retryAfterMs,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A map: an engine's word may be one that every object has, such as `constructor`. */
const ERROR_TYPES: ReadonlyMap<unknown, FailureCode> = new Map([
  ['exceed_context_size_error', 'context_length_exceeded'],
  ['context_length_exceeded', 'context_length_exceeded'],
  ['model_not_found', 'model_not_found'],
  ['not_supported_error', 'unsupported_endpoint'],
]);

const STATUS_CODES: Readonly<Record<number, FailureCode>> = {
  401: 'engine_unauthorized',
  403: 'engine_unauthorized',
  407: 'engine_unauthorized',
  405: 'unsupported_endpoint',
  // A proxy gave up, or the engine asks to come again: nothing is wrong with the request.
  408: 'engine_error',
  409: 'engine_error',
  425: 'engine_error',
  429: 'engine_overloaded',
  501: 'unsupported_endpoint',
  502: 'engine_unreachable',
  503: 'engine_overloaded',
  529: 'engine_overloaded',
};

function codeOf(status: number, error: Json | null, message: string): FailureCode {
  const named = ERROR_TYPES.get(error?.type) ?? ERROR_TYPES.get(error?.code);
  if (named !== undefined && (status < 500 || status === 501)) return named;
  if (status === 404) return codeOfNotFound(error, message);
  const known = STATUS_CODES[status];
  if (known !== undefined) return known;
  if (status >= 500) return ENGINE_GOING_AWAY.test(message) ? 'engine_aborted' : 'engine_error';
  return CONTEXT_LENGTH.test(message) ? 'context_length_exceeded' : 'invalid_request';
}

/** vLLM names the parameter; other servers only say it. A bare "Not Found" is a missing route. */
function codeOfNotFound(error: Json | null, message: string): FailureCode {
  return error?.param === 'model' || /\bmodel\b/i.test(message) ? 'model_not_found' : 'unsupported_endpoint';
}

/** `Retry-After` (seconds or a date) and `retry-after-ms`, in milliseconds; `null` when absent or unreadable. */
export function parseRetryAfterMs(
  seconds: string | undefined,
  milliseconds?: string,
  nowMs = Date.now(),
): number | null {
  const exact = milliseconds === undefined ? Number.NaN : Number(milliseconds);
  if (Number.isFinite(exact) && exact >= 0) return exact;
  if (seconds === undefined) return null;
  const plain = Number(seconds);
  if (Number.isFinite(plain)) return Math.max(0, plain * 1_000);
  const date = Date.parse(seconds);
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs);
}
