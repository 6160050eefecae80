import { describe, expect, it } from 'vitest';
import { job } from '../../test-support/fixtures.js';
import { exitCodeOf } from './outcome.js';

const none = { maxFailures: undefined, minSuccessRate: undefined };
const ended = (succeeded: number, failed: number) =>
  job({
    status: 'succeeded',
    phase: 'succeeded',
    counts: { total: succeeded + failed, queued: 0, running: 0, succeeded, failed, cancelled: 0, expired: 0 },
  });

describe('the exit code of an ended job', () => {
  it('is 0 when every item succeeded and 3 when any did not', () => {
    expect(exitCodeOf(ended(10, 0), none)).toBe(0);
    expect(exitCodeOf(ended(9, 1), none)).toBe(3);
  });

  it('puts up with as many failures as --max-failures says', () => {
    expect(exitCodeOf(ended(8, 2), { ...none, maxFailures: 2 })).toBe(0);
    expect(exitCodeOf(ended(7, 3), { ...none, maxFailures: 2 })).toBe(3);
  });

  it('takes --min-success-rate instead, or both together', () => {
    expect(exitCodeOf(ended(9, 1), { ...none, minSuccessRate: 0.9 })).toBe(0);
    expect(exitCodeOf(ended(8, 2), { ...none, minSuccessRate: 0.9 })).toBe(3);
    expect(exitCodeOf(ended(9, 1), { maxFailures: 0, minSuccessRate: 0.9 })).toBe(3);
  });

  it.each([
    ['failed', 5],
    ['cancelled', 6],
    ['expired', 7],
  ] as const)('of a job that is %s is %i, whatever is tolerated', (status, code) => {
    expect(exitCodeOf(job({ status, phase: status }), { maxFailures: 100, minSuccessRate: undefined })).toBe(
      code,
    );
  });

  it('of a job whose input was refused is 2', () => {
    const inputErrors = [{ line: 1, param: null, code: 'invalid_json', message: 'is not JSON' }];
    expect(exitCodeOf(job({ status: 'failed', phase: 'failed', inputErrors }), none)).toBe(2);
  });
});
