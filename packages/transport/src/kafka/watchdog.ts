/** A consumer that fetches nothing for this long is in doubt. */
export const DOUBT_AFTER_MS = 15_000;
/** And after this long, when its broker answers others, it is replaced; so at most one is built in this time. */
const REPLACE_AFTER_MS = 30_000;

export interface ConsumerSigns {
  /** Since the last answer to a fetch, or since the consumer was made. */
  readonly sinceFetchMs: number;
  /** Whether a client of its own gets answers now; `null`: not known yet. */
  readonly brokerAnswers: boolean | null;
}

/**
 * kafkajs fetches every 250 ms, paused or not, and comes back from an unreachable broker by itself; what it does not
 * come back from shows only in this: no fetch, although the broker answers.
 */
export function judgeConsumer({
  sinceFetchMs,
  brokerAnswers,
}: ConsumerSigns): 'well' | 'doubtful' | 'replace' {
  if (sinceFetchMs <= DOUBT_AFTER_MS) return 'well';
  return sinceFetchMs > REPLACE_AFTER_MS && brokerAnswers === true ? 'replace' : 'doubtful';
}
