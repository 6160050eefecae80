import type { InputError } from '@batch-infer/contracts';
import { LIMITS } from '@batch-infer/contracts';
import type { z } from 'zod';
import { DomainError } from '../errors.js';
import { shapeRequest } from './request-shape.js';

/**
 * Checks a body or query against its schema. A field that is `null` counts as left out where it may be left out.
 * @throws DomainError `missing_parameter`, `invalid_parameter` or `invalid_request` with every bad field in `errors`.
 */
export function parseWith<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const shaped = shapeRequest(schema, value ?? {});
  if (shaped.tooMany !== null) {
    const param = shaped.tooMany.path.map(String).join('.');
    const message = `${param} ${shaped.tooMany.message}`;
    throw refusal([{ line: null, param, code: 'invalid_parameter', message }]);
  }
  const parsed = schema.safeParse(shaped.value);
  if (parsed.success) return parsed.data;
  throw refusal(
    parsed.error.issues.slice(0, LIMITS.reportedErrors).map((issue) => toInputError(issue, shaped.value)),
  );
}

function refusal(errors: readonly InputError[]): DomainError {
  const first = errors[0];
  if (first === undefined) return new DomainError('invalid_request', 'The request is not valid.');
  const code =
    first.param === null
      ? 'invalid_request'
      : first.code === 'missing_parameter'
        ? 'missing_parameter'
        : 'invalid_parameter';
  const more = errors.length > 1 ? ` (+${errors.length - 1} more)` : '';
  return new DomainError(code, `${first.message}.${more}`, {
    errors,
    ...(first.param === null ? {} : { param: first.param }),
  });
}

function toInputError(issue: z.core.$ZodIssue, value: unknown): InputError {
  const unknownKey = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const path = unknownKey === undefined ? issue.path : [...issue.path, unknownKey];
  const param = path.length === 0 ? null : path.map(String).join('.');
  if (unknownKey !== undefined)
    return { line: null, param, code: 'unknown_parameter', message: `${param} is not a known parameter` };
  if (param !== null && isMissing(issue.path, value)) {
    return { line: null, param, code: 'missing_parameter', message: `${param} is missing` };
  }
  const text = issue.message.replace(/^Invalid input: /, '').replace(/^Too /, 'too ');
  return {
    line: null,
    param,
    code: 'invalid_parameter',
    message: param === null ? text : `${param}: ${text}`,
  };
}

function isMissing(path: readonly PropertyKey[], value: unknown): boolean {
  let at: unknown = value ?? {};
  for (const key of path) {
    if (typeof at !== 'object' || at === null) return false;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at === undefined;
}
