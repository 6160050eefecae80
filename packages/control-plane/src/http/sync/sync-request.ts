import { type Endpoint, LIMITS } from '@batch-infer/contracts';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { withoutMembers } from '../../ingest/json-pieces.js';
import { takeJsonBytes } from '../json-body.js';
import { headerOf } from '../request-context.js';
import type { JsonObject } from './json-object.js';
import type { AskedStream } from './stream-text.js';
import { STREAMS } from './streams.js';

/** The job behind an answer; on errors as well. */
export const JOB_ID_HEADER = 'x-batch-infer-job-id';
/** How long to wait for the answer, in milliseconds. */
const WAIT_HEADER = 'x-batch-infer-wait-ms';
/** `true`: a client that goes away wants no answer any more. */
const CANCEL_HEADER = 'x-batch-infer-cancel-on-disconnect';

/** What a plain request asks for. */
export interface SyncRequest {
  /** JSON text of what the engine gets: as it was sent, without what only concerns the way back. */
  readonly body: Buffer;
  readonly model: unknown;
  /** `null`: one JSON answer. */
  readonly stream: AskedStream | null;
  readonly waitMs: number;
  readonly cancelOnDisconnect: boolean;
}

const WAY_BACK: ReadonlySet<string> = new Set(['stream', 'stream_options']);
const BACKGROUND: ReadonlySet<string> = new Set([...WAY_BACK, 'background']);

/** @throws DomainError `invalid_request`, `invalid_parameter` */
export function readSyncRequest(request: FastifyRequest, endpoint: Endpoint): SyncRequest {
  const { stream, stream_options: streamOptions, background, model } = objectOf(request.body);
  if (background === true) {
    throw new DomainError(
      'invalid_parameter',
      'background must not be true here: only /v1/responses has it. Make a job with POST /v1/jobs, or a batch with POST /v1/batches.',
      { param: 'background' },
    );
  }
  return {
    body: withoutMembers(takeJsonBytes(request), WAY_BACK),
    model,
    stream: stream === true ? streamOf(endpoint, streamOptions) : null,
    waitMs: waitMsOf(headerOf(request, WAIT_HEADER)),
    cancelOnDisconnect: headerOf(request, CANCEL_HEADER) === 'true',
  };
}

/** True for a request of `/v1/responses` that nobody is going to wait for. */
export const isForBackground = ({ body }: FastifyRequest): boolean =>
  typeof body === 'object' && body !== null && 'background' in body && body.background === true;

/** JSON text of what the engine gets of a background request: for it the request is like any other. @throws DomainError */
export function readBackgroundRequest(request: FastifyRequest): Buffer {
  if (objectOf(request.body).stream !== true) return withoutMembers(takeJsonBytes(request), BACKGROUND);
  throw new DomainError(
    'invalid_parameter',
    'stream must not be true with background: ask for the response with GET /v1/responses/{id} until it has ended.',
    { param: 'stream' },
  );
}

function objectOf(body: unknown): JsonObject {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as JsonObject;
  throw new DomainError('invalid_request', 'The body must be a JSON object.');
}

function streamOf(endpoint: Endpoint, options: unknown): AskedStream {
  const dialect = STREAMS[endpoint];
  if (dialect === undefined) {
    throw new DomainError(
      'invalid_parameter',
      `stream must not be true for ${endpoint}: answers come when they are whole. Send the request without stream.`,
      { param: 'stream' },
    );
  }
  const includeUsage =
    typeof options === 'object' &&
    options !== null &&
    'include_usage' in options &&
    options.include_usage === true;
  return { dialect, includeUsage };
}

function waitMsOf(text: string | undefined): number {
  if (text === undefined) return LIMITS.syncWaitMs;
  const waitMs = Number(text);
  if (/^\d{1,8}$/.test(text) && waitMs <= LIMITS.syncWaitMaxMs) return waitMs;
  throw new DomainError(
    'invalid_parameter',
    `${WAIT_HEADER} must be milliseconds, at most ${LIMITS.syncWaitMaxMs}.`,
    { param: WAIT_HEADER },
  );
}
