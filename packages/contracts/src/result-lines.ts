import { FAILURE_RULES, type FailureCode, type ItemError, itemError } from './failures.js';
import { rawMembers } from './json-members.js';
import { openAiErrorBody } from './openai-error.js';
import { type SegmentHeader, toSingleLine } from './segment-line.js';

/**
 * How one ended item is written as a line of results, in OpenAI's and in our own form. The control plane writes files
 * and answers with it, the CLI its `--format`: the same item gives the same bytes everywhere.
 */

/** An engine's body: one line of JSON, as bytes or as their text. */
export type Body = Uint8Array | string;

/** A large body, left where it is stored until its bytes are written. */
export interface LargeBody {
  /** Bytes. */
  readonly length: number;
  /** The bytes, in order, anew each time. */
  pieces(): AsyncIterable<Uint8Array>;
}

/** How an item ended: with an outcome of its own, or never run. `B` is what bodies are there as. */
export type EndedItem<B = Body> =
  | {
      readonly ended: 'settled';
      readonly index: number;
      readonly header: Omit<SegmentHeader, 'i'>;
      /** Of a failed item never large: it is looked into. */
      readonly body: B;
    }
  | {
      readonly ended: 'never_run';
      readonly index: number;
      /** Empty where it is not known any more. */
      readonly customId: string;
      readonly status: 'cancelled' | 'expired';
    };

/** Pieces of a line, line feed included; bodies pass through as they are. */
export type LinePieces<B = Body> = readonly (Body | B)[];

/**
 * A line of OpenAI's batch files. Pure, and the same for the same job whenever it is made: ids come from the job's id and
 * the item's index.
 */
export interface OpenAiLine<B = Body> {
  readonly file: 'output' | 'error';
  readonly pieces: LinePieces<B>;
}

export function openAiLine<B extends Body | LargeBody = Body>(
  jobId: string,
  item: EndedItem<B>,
): OpenAiLine<B> {
  const head = (customId: string): string =>
    `{"id":"${requestIdOf(jobId, item.index)}","custom_id":${safeJson(customId)},"response":`;
  if (item.ended === 'never_run') {
    const { type, message } = FAILURE_RULES[neverRunCode(item.status)];
    return {
      file: 'error',
      pieces: [`${head(item.customId)}null,"error":${safeJson({ code: type, message })}}\n`],
    };
  }
  const { header, body } = item;
  const response = `${head(header.c)}{"status_code":${header.st},"request_id":${safeJson(header.r)},"body":`;
  if (header.ok) return { file: 'output', pieces: [response, orNull(body), '},"error":null}\n'] };
  const failure = header.e ?? itemError('engine_error');
  if (header.st >= 400)
    return { file: 'error', pieces: [response, errorBody(body, failure), '},"error":null}\n'] };
  const error = { code: failure.code, message: failure.message };
  return { file: 'error', pieces: [`${head(header.c)}null,"error":${safeJson(error)}}\n`] };
}

/** `batch_req_` with the job's own digits and the item's index. */
const requestIdOf = (jobId: string, index: number): string =>
  `batch_req_${jobId.slice(jobId.indexOf('_') + 1)}${index.toString(16).padStart(8, '0')}`;

/** A line of `GET /v1/jobs/{id}/results`. It has all that a line of another form needs. */
export function nativeLine<B extends Body | LargeBody = Body>(
  item: EndedItem<B>,
  cursor: string | null,
): LinePieces<B> {
  const end = cursor === null ? '}\n' : `,"cursor":"${cursor}"}\n`;
  const head = (customId: string, status: string): string =>
    `{"index":${item.index},"custom_id":${safeJson(customId)},"status":"${status}"`;
  if (item.ended === 'never_run') {
    const ended = itemError(neverRunCode(item.status));
    const error = item.customId === '' ? { ...ended, message: `${ended.message} ${ID_UNKNOWN}` } : ended;
    return [`${head(item.customId, item.status)},"error":${safeJson(error)},"attempts":0${end}`];
  }
  const { header, body } = item;
  const answer = header.st === 0 ? '' : `,"status_code":${header.st}`;
  const tail = `${answer},"request_id":${safeJson(header.r)},"attempts":${header.a},"latency_ms":${header.ms}${end}`;
  if (!header.ok) {
    const failure = header.e ?? itemError('engine_error');
    const start = `${head(header.c, 'failed')},"error":${safeJson(failure)}`;
    const own = header.st < 400 ? '' : errorBody(body, failure);
    // What only repeats our own words is left out.
    return own === '' || own === errorBody('', failure)
      ? [start + tail]
      : [`${start},"error_body":`, own, tail];
  }
  const usage = header.u === undefined ? '' : `,"usage":${usageJson(header.u)}`;
  const origin = header.f === undefined ? '' : `,"reused_from":${safeJson(header.f.j)}`;
  return [`${head(header.c, 'succeeded')},"response":`, orNull(body), `${usage}${origin}${tail}`];
}

const ID_UNKNOWN = 'Its custom_id is not known any more: the input file was deleted.';

/** What of a native line is read again, to write it in another form. */
interface NativeFields {
  readonly index: number;
  readonly custom_id: string;
  readonly status: 'succeeded' | 'failed' | 'cancelled' | 'expired';
  readonly error?: ItemError;
  readonly attempts: number;
  readonly latency_ms?: number;
  readonly request_id?: string;
  readonly status_code?: number;
}

/**
 * The item of a native line, its body as it stands there.
 *
 * @throws SyntaxError when it is no such line.
 */
export function readNativeLine(text: string): EndedItem {
  const members = rawMembers(text);
  const body = members.get('response') ?? members.get('error_body') ?? '';
  const fields = readFields(members);
  const { index, custom_id: customId, status } = fields;
  if (status === 'cancelled' || status === 'expired') return { ended: 'never_run', index, customId, status };
  const ok = status === 'succeeded';
  const { error, attempts, latency_ms = 0, request_id = '', status_code = ok ? 200 : 0 } = fields;
  const header = { c: customId, ok, st: status_code, a: attempts, ms: latency_ms, r: request_id };
  return {
    ended: 'settled',
    index,
    header: { ...header, ...(error === undefined ? {} : { e: error }) },
    body,
  };
}

/** Without the bodies, which may be large. */
function readFields(members: ReadonlyMap<string, string>): NativeFields {
  const others = [...members].filter(([name]) => name !== 'response' && name !== 'error_body');
  return JSON.parse(`{${others.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`);
}

const neverRunCode = (status: 'cancelled' | 'expired'): FailureCode =>
  status === 'expired' ? 'job_expired' : 'job_cancelled';

const encoder = new TextEncoder();

/** The error body of a refusal in OpenAI's form; the same body where nothing is to be changed. */
function errorBody(body: Body | LargeBody, failure: ItemError): Body {
  if (typeof body === 'string') {
    const bytes = encoder.encode(body);
    const shown = openAiErrorBody(bytes, failure);
    return shown === bytes ? body : shown;
  }
  return openAiErrorBody(body instanceof Uint8Array ? body : new Uint8Array(0), failure);
}

const usageJson = ([input, cached, output]: readonly [number, number, number, number]): string =>
  safeJson({ input_tokens: input, cached_input_tokens: cached, output_tokens: output });

const orNull = <B extends Body | LargeBody>(body: B): Body | B => (body.length > 0 ? body : 'null');

const safeJson = (value: unknown): string => toSingleLine(JSON.stringify(value));
