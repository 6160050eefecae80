/** The meaning of every exit code: printed by `--help`, walked by tests. */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  itemsFailed: 3,
  auth: 4,
  jobFailed: 5,
  cancelled: 6,
  expired: 7,
  stillRunning: 8,
  unavailable: 9,
  interrupted: 130,
  terminated: 143,
} as const;

export const EXIT_CODE_HELP = `Exit codes:
  0 ok   1 unexpected   2 usage or invalid input   3 too many failed items   4 auth
  5 job failed   6 cancelled   7 expired   8 still running at --timeout
  9 unavailable after retries   130/143 signals`;
