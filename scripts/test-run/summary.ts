import { relative } from 'node:path';
import { LISTED_SKIPS, type ListedSkip } from './listed-skips.ts';

/** What is read of vitest's JSON report. */
export interface TestReport {
  readonly testResults: readonly {
    /** Path of the file. */
    readonly name: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

export interface TestSummary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Skipped tests by file and reason; `null` is a reason that nobody has given. */
  readonly skips: readonly {
    readonly file: string;
    readonly reason: string | null;
    readonly names: readonly string[];
  }[];
}

/** Counts the tests of a report, and finds for each that was skipped the reason that is listed for it. */
export function summarize(
  report: TestReport,
  root: string,
  listed: readonly ListedSkip[] = LISTED_SKIPS,
): TestSummary {
  const tests = report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map((test) => ({ ...test, file: relative(root, name) })),
  );
  const count = (wanted: string) => tests.filter(({ status }) => status === wanted).length;
  // `skipped`, `pending`, `todo`, `disabled`: whatever has neither passed nor failed has not been run.
  const skipped = tests
    .filter(({ status }) => status !== 'passed' && status !== 'failed')
    .map(({ file, fullName }) => ({ file, fullName, reason: reasonOf(file, fullName, listed) }));
  const groups = Map.groupBy(skipped, ({ file, reason }) => JSON.stringify([file, reason]));
  return {
    passed: count('passed'),
    failed: count('failed'),
    skipped: skipped.length,
    skips: [...groups.values()].flatMap((tests) => {
      const [first] = tests;
      return first === undefined
        ? []
        : [{ file: first.file, reason: first.reason, names: tests.map(({ fullName }) => fullName) }];
    }),
  };
}

const reasonOf = (file: string, fullName: string, listed: readonly ListedSkip[]): string | null =>
  listed.find((skip) => skip.file === file && fullName.startsWith(skip.name))?.reason ?? null;

/** True when a test was skipped without a listed reason. */
export const hasUnlistedSkips = ({ skips }: TestSummary): boolean =>
  skips.some(({ reason }) => reason === null);

/** The closing lines of a test run; the last one has the counts. */
export function describeSummary(summary: TestSummary): string {
  const { passed, failed, skipped, skips } = summary;
  const lines = skips.flatMap(({ file, reason, names }) => [
    `skipped: ${names.length} in ${file}: ${reason ?? 'no reason is listed in scripts/test-run/listed-skips.ts'}`,
    ...(reason === null ? names.map((name) => `  ${name}`) : []),
  ]);
  return [...lines, `${passed} passed, ${failed} failed, ${skipped} skipped`].join('\n');
}
