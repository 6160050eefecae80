import { describe, expect, it } from 'vitest';
import { LIMITS } from './limits.js';
import { createJobRequest, jobDefaults } from './native.js';

const issues = (body: unknown) =>
  createJobRequest.safeParse(body).error?.issues.map((issue) => issue.message) ?? [];

describe('POST /v1/jobs', () => {
  it('takes exactly one of input, items and file_id', () => {
    expect(issues({ input: {} })).toEqual([]);
    expect(issues({})).toEqual(['exactly one of input, items and file_id must be given']);
    expect(issues({ input: {}, file_id: 'file-1' })).toEqual([
      'exactly one of input, items and file_id must be given',
    ]);
  });

  it('names the bounds of a completion window', () => {
    expect(issues({ input: {}, completion_window: '31d' })).toEqual([
      'must be a duration between "1m" and "30d", such as "24h"',
    ]);
    expect(issues({ input: {}, completion_window: '1h' })).toEqual([]);
  });

  it('refuses keys it does not know', () => {
    expect(issues({ input: {}, prioritty: 'high' })[0]).toContain('prioritty');
  });

  it('takes at most 16 metadata pairs', () => {
    const metadata = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v']));
    expect(issues({ input: {}, metadata })).toEqual(['must have at most 16 pairs']);
  });
});

describe('the defaults of a job', () => {
  const judge = (defaults: object) => jobDefaults.safeParse(defaults);

  it('hold so many values at most, however deep they lie', () => {
    const some = Array.from({ length: LIMITS.defaultsValues - 2 }, () => 1);
    expect(judge({ a: { b: some } }).success).toBe(true);
    expect(judge({ a: { b: [...some, 1] } }).error?.issues).toMatchObject([
      { message: `must have at most ${LIMITS.defaultsValues} values` },
    ]);
  });
});
