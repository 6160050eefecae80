import type { Problem } from '@batch-infer/contracts/native';
import { type APIError, errorClassOf } from '../errors.js';
import { isRetryableStatus, readRetryHints } from './retry.js';

/** Longest error body that is read. */
const MAX_BODY_CHARS = 1_000_000;

/** The error of an answer that is not 2xx: problem+json, OpenAI's shape, or whatever a proxy said. */
export async function errorOf(response: Response): Promise<APIError> {
  const text = await response.text().catch(() => '');
  const problem = parseProblem(text.slice(0, MAX_BODY_CHARS));
  const hints = readRetryHints(response.headers, Date.now());
  const { status } = response;
  const message =
    problem.detail ?? problem.error?.message ?? problem.title ?? `The server answered ${status}`;
  return new (errorClassOf(status))(message, {
    status,
    code: problem.code ?? problem.error?.code ?? `http_${status}`,
    type: problem.error?.type,
    param: problem.param ?? problem.error?.param,
    requestId: problem.request_id ?? response.headers.get('x-request-id'),
    retryable: isRetryableStatus(status, hints),
    errors: problem.errors,
    retryAfterMs: hints.retryAfterMs,
  });
}

type LooseProblem = Partial<Omit<Problem, 'error'>> & { error?: Partial<Problem['error']> };

function parseProblem(text: string): LooseProblem {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return {};
    const { error, errors, ...rest } = value as LooseProblem;
    return {
      ...rest,
      ...(typeof error === 'object' && error !== null ? { error } : {}),
      ...(Array.isArray(errors) ? { errors } : {}),
    };
  } catch {
    return {};
  }
}
