/** The state of a project's bucket of requests, pure. One number says all: when it would be full again (GCRA). */

/** A bucket holds a minute's worth. In microseconds: a request of ten million a minute takes six. */
const MINUTE_US = 60_000_000;

/** How long the bucket takes to get one request back. */
const requestUs = (perMinute: number): number => Math.max(1, Math.round(MINUTE_US / perMinute));

export interface RequestSpending {
  readonly perMinute: number;
  /** Requests that the process asks for, to hand them out itself. */
  readonly wanted: number;
  /** Requests that it was granted before and gives back: nobody made them. */
  readonly returned: number;
  /** Requests that were made without having been granted, because they are never refused. */
  readonly overdrawn: number;
}

/**
 * Takes requests from a bucket: as many of the wanted ones as it holds. It may be overdrawn by a minute's worth at most.
 * @param fullAtUs when the bucket is full again, in epoch microseconds; in the past: it is full
 */
export function spendRequests(
  fullAtUs: number,
  { perMinute, wanted, returned, overdrawn }: RequestSpending,
  nowUs: number,
): { granted: number; fullAtUs: number } {
  const costUs = requestUs(perMinute);
  const before = Math.max(nowUs, Math.max(nowUs, fullAtUs) + (overdrawn - returned) * costUs);
  const owedUs = Math.min(before, nowUs + 2 * MINUTE_US);
  const granted = Math.min(wanted, Math.max(0, Math.floor((nowUs + MINUTE_US - owedUs) / costUs)));
  return { granted, fullAtUs: owedUs + granted * costUs };
}
