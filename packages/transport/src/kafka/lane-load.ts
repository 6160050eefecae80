import type { KafkaAdmin } from './kafka-client.js';
import { type KafkaLogger, reasonOf } from './kafka-logger.js';

/** How old the known lag may be when offers are placed. */
const REFRESH_INTERVAL_MS = 1_000;

interface Load {
  outstanding: number[];
  refreshedMs: number;
  refreshing: boolean;
}

/**
 * How many offers wait in each partition: the group's lag as last read, plus what was placed since. Reading goes on in
 * the background and publishing never waits for it: placing with old numbers is worse, not wrong.
 */
export class LaneLoads {
  readonly #params: { admin: KafkaAdmin; logger: KafkaLogger; now?: () => number };
  readonly #loads = new Map<string, Load>();

  constructor(params: { admin: KafkaAdmin; logger: KafkaLogger; now?: () => number }) {
    this.#params = params;
  }

  /** Places offers one after the other: `choose` sees those that were placed before. */
  place(
    lane: { topic: string; groupId: string; partitions: number },
    choose: (outstanding: readonly number[]) => number,
  ): number {
    const load = this.#loadOf(lane.topic);
    this.#refresh(lane, load);
    for (let partition = load.outstanding.length; partition < lane.partitions; partition += 1)
      load.outstanding.push(0);
    const chosen = choose(load.outstanding);
    load.outstanding[chosen] = (load.outstanding[chosen] ?? 0) + 1;
    return chosen;
  }

  /** Of a lane that was removed. */
  forget(topic: string): void {
    this.#loads.delete(topic);
  }

  #loadOf(topic: string): Load {
    const known = this.#loads.get(topic);
    if (known !== undefined) return known;
    const load: Load = { outstanding: [], refreshedMs: Number.NEGATIVE_INFINITY, refreshing: false };
    this.#loads.set(topic, load);
    return load;
  }

  #refresh({ topic, groupId }: { topic: string; groupId: string }, load: Load): void {
    const nowMs = (this.#params.now ?? (() => performance.now()))();
    if (load.refreshing || nowMs - load.refreshedMs < REFRESH_INTERVAL_MS) return;
    load.refreshing = true;
    load.refreshedMs = nowMs;
    this.#params.admin
      .readLag({ topic, groupId })
      .then(
        (lag) => {
          // Of partitions that are too new for the answer, our own count is all there is.
          load.outstanding = Array.from(
            { length: Math.max(lag.length, load.outstanding.length) },
            (_, partition) => lag[partition] ?? load.outstanding[partition] ?? 0,
          );
        },
        (error: unknown) =>
          this.#params.logger.debug({ topic, reason: reasonOf(error) }, 'the lag of a lane was not read'),
      )
      .finally(() => {
        load.refreshing = false;
      });
  }
}
