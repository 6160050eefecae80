import { setTimeout as delay } from 'node:timers/promises';

const POLL_INTERVAL_MS = 20;

/** An answer that no later question will better: `until` gives up at once. */
export class FinalError extends Error {
  override readonly name = 'FinalError';
}

/**
 * Asks until there is an answer that is not null; a question that throws counts as unanswered.
 * @throws when there is none by the deadline, with the last error as its cause; a `FinalError` at once.
 */
export async function until<Answer>(
  what: string,
  deadlineMs: number,
  ask: () => Promise<Answer | null> | Answer | null,
): Promise<Answer> {
  const endsAt = performance.now() + deadlineMs;
  let lastError: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== null) return answer;
      lastError = undefined;
    } catch (error) {
      if (error instanceof FinalError) throw error;
      lastError = error;
    }
    if (performance.now() > endsAt) {
      throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause: lastError });
    }
    await delay(POLL_INTERVAL_MS);
  }
}

/** `p50 12 ms, max 40 ms` */
export function summary(valuesMs: readonly number[]): string {
  if (valuesMs.length === 0) return 'none';
  const sorted = valuesMs.toSorted((one, other) => one - other);
  const at = (share: number) => Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? 0);
  return `p50 ${at(0.5)} ms, max ${at(1)} ms, n ${sorted.length}`;
}
