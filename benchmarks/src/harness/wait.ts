import { setTimeout as delay } from 'node:timers/promises';
import type { Engine } from './engine.ts';

const POLL_INTERVAL_MS = 10;
const DEADLINE_MS = 300_000;

/** Resolves once the engine has answered that many requests. @throws after five minutes. */
export async function engineCompleted(engine: Engine, count: number): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const { completed } = await engine.stats();
    if (completed >= count) return;
    if (performance.now() > deadline)
      throw new Error(`the engine answered ${completed} of ${count} requests`);
    await delay(POLL_INTERVAL_MS);
  }
}

/** Resolves, with the time since when, once nothing is in flight at the engine. @throws after five minutes. */
export async function engineIdle(engine: Engine): Promise<{ idleSince: number; lastRequestAt: number }> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const { idleSince, lastRequestAt } = await engine.stats();
    if (idleSince !== null) return { idleSince, lastRequestAt: lastRequestAt ?? 0 };
    if (performance.now() > deadline) throw new Error('the engine never became idle');
    await delay(POLL_INTERVAL_MS);
  }
}
