import {
  ITEM_STATUSES,
  isExactNumber,
  JOB_STATES,
  JOB_STATUSES,
  type JobState,
  type JobStatus,
  LIMITS,
  parseExactJson,
  toJobStatus,
} from '@batch-infer/contracts';
import { type JobOptions, jobOptions } from '@batch-infer/contracts/native';
import { z } from 'zod';
import { DomainError } from '../../errors.js';
import type { Wanted } from '../../jobs/item-reader.js';
import type { JobFilter } from '../../jobs/jobs.js';
import { CURSORS, cursorOf } from '../cursor.js';
import { parseWith } from '../validation.js';

/** A query string as Fastify hands it over: keys as written, repeated keys as arrays. */
export type Query = Readonly<Record<string, string | string[] | undefined>>;

const one = (query: Query, key: string): string | undefined => {
  const value = query[key];
  return Array.isArray(value) ? value.at(-1) : value;
};

const many = (query: Query, key: string): string[] => {
  const value = query[key];
  const values = value === undefined ? [] : Array.isArray(value) ? value : [value];
  return values.flatMap((part) => part.split(',')).filter((part) => part !== '');
};

/** `metadata[k]=v` pairs, or one `metadata` of JSON. */
function metadataOf(query: Query): unknown {
  const whole = one(query, 'metadata');
  if (whole !== undefined) return jsonParameter('metadata', whole);
  const pairs = Object.keys(query).flatMap((key) => {
    const match = /^metadata\[(.+)\]$/.exec(key);
    return match === null ? [] : [[match[1], one(query, key)]];
  });
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs);
}

function jsonParameter(param: string, text: string): unknown {
  try {
    const value = parseExactJson(text);
    return isExactNumber(value) ? Number(text) : value;
  } catch {
    throw new DomainError('invalid_parameter', `${param} must be JSON.`, { param });
  }
}

const NUMBERS = [
  'item_timeout_ms',
  'max_attempts',
  'max_error_rate',
  'output_expires_after_seconds',
  'reuse_max_age_seconds',
];

/**
 * A job's options from the query string of an NDJSON create.
 * @throws DomainError for a parameter that is not valid
 */
export function optionsOf(query: Query): { options: JobOptions; dryRun: boolean } {
  const values: Record<string, unknown> = {};
  for (const key of Object.keys(jobOptions.shape)) {
    const text = one(query, key);
    if (key === 'metadata') values[key] = metadataOf(query);
    else if (text === undefined) continue;
    else if (key === 'defaults' || key === 'webhook') values[key] = jsonParameter(key, text);
    else values[key] = NUMBERS.includes(key) && text !== '' ? Number(text) : text;
  }
  return { options: parseWith(jobOptions, values), dryRun: flag(query, 'dry_run') };
}

function flag(query: Query, param: string): boolean {
  const text = one(query, param);
  if (text === undefined || text === 'false' || text === '0') return false;
  if (text === 'true' || text === '1' || text === '') return true;
  throw new DomainError('invalid_parameter', `${param} must be true or false.`, { param });
}

/** `limit`, 1 to 100. @throws DomainError `invalid_parameter` */
export function limitOf(query: Query): number {
  const text = one(query, 'limit');
  if (text === undefined) return LIMITS.listDefault;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= LIMITS.listMax) return limit;
  throw new DomainError('invalid_parameter', `limit must be a whole number from 1 to ${LIMITS.listMax}.`, {
    param: 'limit',
  });
}

/** Filters of `GET /v1/jobs`. @throws DomainError `invalid_parameter`, `invalid_cursor` */
export function filterOf(query: Query): JobFilter {
  const statuses = many(query, 'status').map((status) => oneOf(JOB_STATUSES, status, 'status'));
  const model = one(query, 'model');
  const metadata = metadataOf(query);
  const createdAfter = one(query, 'created_after');
  const cursor =
    cursorOf(one(query, 'cursor'), 'cursor', CURSORS.job) ??
    cursorOf(one(query, 'after'), 'after', CURSORS.job);
  return {
    ...(statuses.length === 0 ? {} : { states: statesOf(statuses) }),
    ...(model === undefined ? {} : { model }),
    ...(metadata === undefined ? {} : { metadata: parseWith(labels, metadata) }),
    ...(createdAfter === undefined ? {} : { createdAfterMs: timeOf(createdAfter) }),
    ...(cursor === undefined ? {} : { after: cursor }),
  };
}

const labels = z.record(z.string(), z.string()).meta({ maxProperties: LIMITS.metadataPairs });

const statesOf = (statuses: readonly JobStatus[]): JobState[] =>
  JOB_STATES.filter((state) => statuses.includes(toJobStatus(state)));

function oneOf<const Values extends readonly string[]>(
  values: Values,
  value: string,
  param: string,
): Values[number] {
  const found = values.find((candidate) => candidate === value);
  if (found !== undefined) return found;
  throw new DomainError('invalid_parameter', `${param} must be one of ${values.join(', ')}.`, { param });
}

/** RFC 3339, or Unix seconds. */
function timeOf(text: string): number {
  const atMs = /^\d{1,11}$/.test(text) ? Number(text) * 1_000 : Date.parse(text);
  if (!Number.isNaN(atMs)) return atMs;
  throw new DomainError('invalid_parameter', 'created_after must be a time such as 2026-01-31T12:00:00Z.', {
    param: 'created_after',
  });
}

/**
 * `after`, or `offset` as the lines of the input that are left out: behind line 4 is at offset 5.
 * @throws DomainError `invalid_parameter`
 */
function placeOf(query: Query, order: 'input' | 'completion'): string | null {
  const after = one(query, 'after') ?? null;
  const offset = one(query, 'offset');
  if (offset === undefined) return after;
  if (/^\d{1,9}$/.test(offset) && order === 'input' && after === null)
    return offset === '0' ? null : String(Number(offset) - 1);
  throw new DomainError(
    'invalid_parameter',
    'offset must be a whole number of lines, in input order and without after.',
    { param: 'offset' },
  );
}

/** `order`, `after` or `offset`, and `status` of `GET /v1/jobs/{id}/results`. */
export function resultsQueryOf(query: Query): {
  order: 'input' | 'completion';
  after: string | null;
  wanted: Wanted;
} {
  const order = oneOf(['input', 'completion'], one(query, 'order') ?? 'input', 'order');
  const statuses = many(query, 'status').map((status) => oneOf(ITEM_STATUSES, status, 'status'));
  const has = (status: (typeof ITEM_STATUSES)[number]): boolean =>
    statuses.length === 0 || statuses.includes(status);
  return {
    order,
    after: placeOf(query, order),
    wanted: {
      succeeded: has('succeeded'),
      failed: has('failed'),
      cancelled: has('cancelled'),
      expired: has('expired'),
    },
  };
}

/** Seconds of `?wait=` or `Prefer: wait=`, at most 60; 0 for none. @throws DomainError `invalid_parameter` */
export function waitSecondsOf(query: Query, prefer: string | undefined): number {
  const text = one(query, 'wait') ?? /(?:^|[,;]\s*)wait=(\d{1,6})/.exec(prefer ?? '')?.[1];
  if (text === undefined) return 0;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds >= 0) return Math.min(seconds, LIMITS.waitMaxSeconds);
  throw new DomainError(
    'invalid_parameter',
    `wait must be a number of seconds, at most ${LIMITS.waitMaxSeconds}.`,
    { param: 'wait' },
  );
}
