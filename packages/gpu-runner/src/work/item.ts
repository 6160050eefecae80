import type { EngineCall } from '../engine/client.js';
import { type AttemptHistory, NO_HISTORY } from '../loop/retry.js';
import type { ShardRun } from './shard-run.js';

/** One item of a leased shard on its way to an outcome. */
export interface WorkItem {
  readonly run: ShardRun;
  /** Index in the job's input. */
  readonly index: number;
  readonly customId: string;
  /** Endpoint path. */
  readonly path: string;
  readonly body: Uint8Array;
  /** What it is expected to cost the engine, in tokens. Known when it is queued. */
  tokens: number;
  /** Equal for items whose prompts begin alike; 0 where nobody asks. */
  prefixKey: number;
  history: AttemptHistory;
  /** True after a request was lost to a closing connection and sent again at once; done once only. */
  raced: boolean;
  /** Times that it was sent again because the moment of its failure was doubtful. */
  doubts: number;
  /** How many answers this runner had seen when the item first failed; `null` before that. */
  answersAtFailure: number | null;
  /** The attempt under way. */
  call: EngineCall | null;
  /** Ends its back-off early, without running it. */
  cancelDelay: (() => void) | null;
}

const MEMORY_ITEMS = 20_000;

/**
 * What items went through in leases that were given back, so that an item that kills engines is found out although its
 * shard moves. Of this process only, and bounded: the oldest are forgotten.
 */
export class ItemMemory {
  readonly #histories = new Map<string, AttemptHistory>();

  recall(jobId: string, index: number): AttemptHistory {
    if (this.#histories.size === 0) return NO_HISTORY;
    const key = `${jobId}:${index}`;
    const history = this.#histories.get(key);
    if (history === undefined) return NO_HISTORY;
    this.#histories.delete(key);
    return history;
  }

  remember(jobId: string, index: number, history: AttemptHistory): void {
    const { charged, interrupted, noisy, deaths } = history;
    if (charged + interrupted + noisy + deaths === 0) return;
    this.#histories.set(`${jobId}:${index}`, { ...history, overloaded: 0, unreached: 0 });
    if (this.#histories.size <= MEMORY_ITEMS) return;
    const [oldest] = this.#histories.keys();
    if (oldest !== undefined) this.#histories.delete(oldest);
  }
}
