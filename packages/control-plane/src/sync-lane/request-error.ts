import type { InputError } from '@batch-infer/contracts';
import { DomainError } from '../errors.js';

/** A refused item in the names of a plain request: its body is the whole request, not the `input` of a job. */
export function toRequestError(error: unknown): unknown {
  if (!(error instanceof DomainError) || error.errors.length === 0) return error;
  const errors = error.errors.map(toRequestField);
  const [first] = errors;
  const code = first?.code.startsWith('missing') ? 'missing_parameter' : 'invalid_parameter';
  return new DomainError(code, `${first?.message ?? error.message}.`, {
    errors,
    cause: error,
    ...(first?.param == null ? {} : { param: first.param }),
  });
}

const toRequestField = (error: InputError): InputError => ({
  ...error,
  param: error.param?.replace(/^input\./, '') ?? null,
  message: error.message.replace(/\binput\./g, '').replace(/\.$/, ''),
});
