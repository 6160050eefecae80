import { ERROR_RULES, type ErrorCode } from '@batch-infer/contracts';
import { problem } from '@batch-infer/contracts/native';
import { NotFoundException } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import { DomainError } from '../errors.js';
import { StorageFullError } from '../ports/blobs.js';
import { StoreUnavailableError } from '../ports/outage.js';
import { toProblem } from './problem.js';

describe('toProblem', () => {
  it.each(Object.keys(ERROR_RULES) as ErrorCode[])('gives %s the shape of both dialects', (code) => {
    const { status, headers, body } = toProblem(new DomainError(code, 'What, why, next.'), 'req_1');
    expect(problem.strict().safeParse(body).success).toBe(true);
    expect(status).toBe(ERROR_RULES[code].status);
    expect(body).toMatchObject({
      status,
      detail: 'What, why, next.',
      error: { message: 'What, why, next.', code },
      request_id: 'req_1',
    });
    expect(headers['x-should-retry']).toBe(ERROR_RULES[code].retryable ? undefined : 'false');
  });

  it('never hints at more than a minute', () => {
    expect(
      toProblem(new DomainError('rate_limited', 'x', { retryAfterSeconds: 900 }), 'r').headers['retry-after'],
    ).toBe('60');
    expect(toProblem(new DomainError('unavailable', 'x'), 'r').headers['retry-after']).toBe('1');
    expect(toProblem(new DomainError('internal_error', 'x'), 'r').headers['retry-after']).toBeUndefined();
  });

  it('says nothing of what was not foreseen', () => {
    const answer = toProblem(new Error('canary: prompt text'), 'req_1');
    expect(answer.status).toBe(500);
    expect(JSON.stringify(answer)).not.toContain('canary');
  });

  it.each([
    [new NotFoundException('Cannot GET /canary'), 404, 'not_found'],
    [new StorageFullError('canary'), 507, 'storage_full'],
    [Object.assign(new Error('canary'), { code: 'ECONNREFUSED' }), 503, 'unavailable'],
    [new Error('canary', { cause: new StoreUnavailableError('canary') }), 503, 'unavailable'],
    [
      Object.assign(new Error('canary'), { statusCode: 415, code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' }),
      415,
      'unsupported_media_type',
    ],
    [
      Object.assign(new Error('canary'), { statusCode: 413, code: 'FST_ERR_CTP_BODY_TOO_LARGE' }),
      413,
      'body_too_large',
    ],
    [Object.assign(new Error('canary'), { statusCode: 400, code: 'SQLITE_X' }), 500, 'internal_error'],
  ])('maps %s', (error, status, code) => {
    const answer = toProblem(error, 'req_1');
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(JSON.stringify(answer)).not.toContain('canary');
  });
});
