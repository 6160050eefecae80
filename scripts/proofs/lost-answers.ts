import { type FaultProxy, startFaultProxy } from '@batch-infer/testkit';
import { scale } from './settings.js';

/** R4: answers lost for each SDK and route. `PROOF_CUTS=1000` for the whole proof. */
export const CUTS = scale('PROOF_CUTS', 20);

/** Grows with the cuts: an SDK waits for about a second at each, which only lanes side by side make short. */
export const CUT_RUN = { timeout: 120_000 + 600 * CUTS };

/** The most side by side: more wait for the server rather than for the SDK's own pause. */
const MOST_LANES = 40;

export interface Cut {
  readonly proxy: FaultProxy;
  readonly index: number;
}

/** Lanes side by side, each with a proxy of its own, so that a cut strikes the request it is meant for. */
export class Lanes {
  readonly #proxies: FaultProxy[] = [];

  async open(target: string): Promise<void> {
    const count = Math.min(MOST_LANES, CUTS);
    for (let lane = 0; lane < count; lane += 1) this.#proxies.push(await startFaultProxy({ target }));
  }

  get first(): FaultProxy {
    const [proxy] = this.#proxies;
    if (proxy === undefined) throw new RangeError('no lane is open');
    return proxy;
  }

  /**
   * Runs `create` for every cut, one at a time in each lane.
   * @returns how many answers were lost.
   */
  async each(create: (cut: Cut) => Promise<void>): Promise<number> {
    const before = this.#lost();
    await Promise.all(
      this.#proxies.map(async (proxy, lane) => {
        for (let index = lane; index < CUTS; index += this.#proxies.length) await create({ proxy, index });
      }),
    );
    return this.#lost() - before;
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
  }

  #lost(): number {
    return this.#proxies.reduce((sum, proxy) => sum + proxy.counters().cutResponses, 0);
  }
}

/**
 * Loses the answer to the next POST after the server has done its work, and every other time the answer to its retry
 * as well; by a reset and by an orderly end in turn.
 */
export function loseAnswer({ proxy, index }: Cut, pathPrefix: string): void {
  const end = index % 4 < 2 ? 'reset' : 'close';
  proxy.cutResponseAfterUpstreamAnswered({ count: 1 + (index % 2), method: 'POST', pathPrefix, end });
}

/** What `loseAnswer` loses over all cuts: fewer would mean that a create went through unharmed. */
export const LOST = CUTS + Math.floor(CUTS / 2);
