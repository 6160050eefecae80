import { setTimeout as delay } from 'node:timers/promises';
import { isPassing } from './kafkajs-errors.js';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 500;

/**
 * Asks again while the broker says that it is not ready yet: it is on its way back, or its work is being handed over.
 * `ask` is told how long the answer may still take.
 * @throws the last error, when `withinMs` are over or it is of another kind.
 */
export async function retryPassing<Result>(
  ask: (leftMs: number) => Promise<Result>,
  { withinMs }: { withinMs: number },
): Promise<Result> {
  const deadlineMs = performance.now() + withinMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await ask(Math.max(1, deadlineMs - performance.now()));
    } catch (error) {
      if (!isPassing(error) || performance.now() + pauseMs >= deadlineMs) throw error;
    }
    await delay(pauseMs);
  }
}
