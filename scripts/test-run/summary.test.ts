import { describe, expect, it } from 'vitest';
import { describeSummary, hasUnlistedSkips, summarize } from './summary.ts';

const report = {
  testResults: [
    {
      name: '/repository/scripts/slow.test.ts',
      assertionResults: [
        { fullName: 'an expiry takes a minute', status: 'skipped' },
        { fullName: 'an expiry is told', status: 'passed' },
        { fullName: 'an expiry is counted', status: 'failed' },
      ],
    },
    {
      name: '/repository/packages/x/src/y.test.ts',
      assertionResults: [
        { fullName: 'later', status: 'todo' },
        { fullName: 'a real database', status: 'pending' },
      ],
    },
  ],
};
const minute = {
  file: 'scripts/slow.test.ts',
  name: 'an expiry takes',
  reason: 'it takes a minute',
};
const all = [
  minute,
  { file: 'packages/x/src/y.test.ts', name: 'later', reason: 'a' },
  { file: 'packages/x/src/y.test.ts', name: 'a real database', reason: 'b' },
];

describe('the summary of a test run', () => {
  it('counts every test that was not run as skipped, whatever the reporter calls it', () => {
    expect(summarize(report, '/repository', all)).toMatchObject({ passed: 1, failed: 1, skipped: 3 });
  });

  it('knows a skip by file and name, and others have no reason', () => {
    expect(hasUnlistedSkips(summarize(report, '/repository', all))).toBe(false);
    expect(hasUnlistedSkips(summarize(report, '/repository', [minute]))).toBe(true);
    const elsewhere = { ...minute, file: 'scripts/other.test.ts' };
    expect(summarize(report, '/repository', [elsewhere]).skips.every(({ reason }) => reason === null)).toBe(
      true,
    );
  });

  it('tells the reasons, names what has none, and ends with the counts', () => {
    expect(describeSummary(summarize(report, '/repository', [minute]))).toBe(
      [
        'skipped: 1 in scripts/slow.test.ts: it takes a minute',
        'skipped: 2 in packages/x/src/y.test.ts: no reason is listed in scripts/test-run/listed-skips.ts',
        '  later',
        '  a real database',
        '1 passed, 1 failed, 3 skipped',
      ].join('\n'),
    );
  });
});
