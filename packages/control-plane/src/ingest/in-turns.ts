import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Steps } from '@batch-infer/contracts/jsonl';

/** Runs work whose steps are turns of their own: between two of them everybody else gets theirs. */
export async function inTurns<Result>(steps: Steps<Result>): Promise<Result> {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    await nextTurn();
  }
}
