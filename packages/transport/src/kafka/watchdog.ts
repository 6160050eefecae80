/** A consumer that fetches nothing for this long is in doubt. */
export const DOUBT_AFTER_MS = 15_000;
/**
 * And after this long, when its broker has answered others all that time, it is replaced; so at most one is built in this
 * time. Longer than a session: a consumer that crashed waits one for its old membership to end.
 */
const REPLACE_AFTER_MS = 30_000;

export interface ConsumerSigns {
  /** Since the last answer to a fetch, or since the consumer was made. */
  readonly sinceFetchMs: number;
  /** For how long a client of its own has been getting answers; 0: it gets none. */
  readonly brokerAnswersForMs: number;
}

/**
 * kafkajs fetches every 250 ms, paused or not, and comes back from an unreachable broker by itself; what it does not
 * come back from shows only in this: no fetch, although the broker answers.
 */
export function judgeConsumer(signs: ConsumerSigns): 'well' | 'doubtful' | 'replace' {
  const { sinceFetchMs, brokerAnswersForMs } = signs;
  if (sinceFetchMs <= DOUBT_AFTER_MS) return 'well';
  return Math.min(sinceFetchMs, brokerAnswersForMs) > REPLACE_AFTER_MS ? 'replace' : 'doubtful';
}
