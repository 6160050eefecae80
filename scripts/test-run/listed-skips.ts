/** A test that may be skipped in CI, and why. Anything else that is skipped there is a failure. */
export interface ListedSkip {
  /** Path from the root of the repository. */
  readonly file: string;
  /** Beginning of the test's full name: the titles of its suites, then its own. */
  readonly name: string;
  readonly reason: string;
}

export const LISTED_SKIPS: readonly ListedSkip[] = [
  {
    file: 'scripts/proofs/drain.integration.test.ts',
    name: 'R11: a job is stopped expiry after a window of one minute',
    reason: 'waits for a whole minute; runs with PROOF_FULL=1, see scripts/proofs',
  },
  {
    file: 'scripts/proofs/disk-full.integration.test.ts',
    name: 'the disk is full',
    reason: 'mounts a small file system, which only root may do',
  },
  {
    file: 'scripts/proofs/web-pages.integration.test.ts',
    name: 'web pages in a real browser',
    reason: 'needs Chromium (Debian: chromium), or another one in PROOF_CHROMIUM',
  },
];
