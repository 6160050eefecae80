import type { Priority } from '@batch-infer/contracts';
import type { Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferDemand, OfferPublisher, TransportHealth, WaitingRunner } from '../port.js';

/** One long poll of a runner. Times in milliseconds. */
export interface PollParams {
  readonly runnerId: string;
  readonly models: readonly string[];
  /** Offers of this project only; `null` or absent: of all. */
  readonly projectId?: string | null;
  /** Offers wanted at most. */
  readonly max: number;
  /** How long to wait for the first offer; 0 answers at once. */
  readonly waitMs: number;
  /** The runner went away: its poll takes no offer from now on. */
  readonly signal?: AbortSignal;
}

interface Poll extends WaitingRunner {
  readonly assigned: Offer[];
  readonly answer: (offers: Offer[]) => void;
}

const RANK: Record<Priority, number> = { high: 0, normal: 1, low: 2 };

/** Offers kept for runners that do not wait right now; beyond it the oldest are dropped and offered again later. */
const BUFFERED_OFFERS = 1_024;

/** What is remembered of offers handed over: for each runner, and runners in all. */
const REMEMBERED_OFFERS = 64;
const REMEMBERED_RUNNERS = 1_000;

/**
 * The publisher's side of the direct transport: it lives in the control plane and hands offers to the long polls of
 * runners. Driven by demand, so that an offer is taken from the ledger only when a runner asks for one.
 */
export class DirectHub implements OfferPublisher {
  readonly #polls = new Set<Poll>();
  /** By shard: the newest offer of each. */
  readonly #buffer = new Map<string, Offer>();
  /** Offers of the last polls of each runner. */
  readonly #handed = new Map<string, Offer[]>();
  readonly #waitingListeners: (() => void)[] = [];
  readonly #returnedListeners: ((offers: readonly Offer[]) => void)[] = [];
  #closed = false;

  readonly demand: OfferDemand = {
    waiting: () => [...this.#polls],
    onWaiting: (listener) => void this.#waitingListeners.push(listener),
    onReturned: (listener) => void this.#returnedListeners.push(listener),
    handedTo: (runnerId) => {
      const offers = this.#handed.get(runnerId) ?? [];
      this.#handed.delete(runnerId);
      return offers;
    },
  };

  async publish(params: { offers: readonly Offer[] }): Promise<void> {
    if (this.#closed) throw new Error('the direct transport is closed');
    for (const offer of params.offers) {
      // Deleted first, so that a newer epoch moves to the end of the map's order.
      this.#buffer.delete(offer.shard_id);
      this.#buffer.set(offer.shard_id, offer);
    }
    this.#distribute();
    for (const shardId of this.#buffer.keys()) {
      if (this.#buffer.size <= BUFFERED_OFFERS) break;
      this.#buffer.delete(shardId);
    }
  }

  /** Answers with at least one offer as soon as there is one, or with none when the time is over. */
  poll(params: PollParams): Promise<Offer[]> {
    if (this.#closed || params.signal?.aborted) return Promise.resolve([]);
    return new Promise((resolve) => {
      const end = (offers: Offer[]) => {
        clearTimeout(timer);
        params.signal?.removeEventListener('abort', abandon);
        this.#polls.delete(poll);
        resolve(offers);
      };
      const abandon = () => end([]);
      const poll: Poll = {
        runnerId: params.runnerId,
        models: params.models,
        projectId: params.projectId ?? null,
        max: params.max,
        assigned: [],
        answer: end,
      };
      const timer = setTimeout(abandon, params.waitMs);
      params.signal?.addEventListener('abort', abandon);
      this.#polls.add(poll);
      this.#distribute();
      if (this.#polls.has(poll)) for (const listener of this.#waitingListeners) listener();
    });
  }

  /** Offers of an answered poll that cannot have arrived, because the runner's connection broke. */
  giveBack(offers: readonly Offer[]): void {
    if (offers.length > 0) for (const listener of this.#returnedListeners) listener(offers);
  }

  health(): TransportHealth {
    return this.#closed
      ? { state: 'down', reason: 'the control plane is shutting down' }
      : { state: 'up', reason: null };
  }

  /** Answers every poll with nothing, so that the runners ask elsewhere. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const poll of [...this.#polls]) poll.answer([]);
    this.#buffer.clear();
  }

  /** High priority first; each offer to the poll that has the fewest, so that waiting runners share the work. */
  #distribute(): void {
    if (this.#polls.size === 0 || this.#buffer.size === 0) return;
    const offers = [...this.#buffer.values()].sort(
      (left, right) => RANK[left.priority] - RANK[right.priority],
    );
    for (const offer of offers) {
      const poll = this.#pollFor(offer);
      if (!poll) continue;
      poll.assigned.push(offer);
      this.#buffer.delete(offer.shard_id);
    }
    for (const poll of [...this.#polls]) {
      if (poll.assigned.length === 0) continue;
      this.#remember(poll);
      poll.answer(poll.assigned);
    }
  }

  #remember({ runnerId, assigned }: Poll): void {
    const offers = [...(this.#handed.get(runnerId) ?? []), ...assigned].slice(-REMEMBERED_OFFERS);
    this.#handed.delete(runnerId);
    this.#handed.set(runnerId, offers);
    for (const longestUnseen of this.#handed.keys()) {
      if (this.#handed.size <= REMEMBERED_RUNNERS) break;
      this.#handed.delete(longestUnseen);
    }
  }

  #pollFor({ model, project_id: projectId }: Offer): Poll | null {
    let best: Poll | null = null;
    for (const poll of this.#polls) {
      if (poll.assigned.length >= poll.max || !poll.models.includes(model)) continue;
      if (poll.projectId && poll.projectId !== projectId) continue;
      if (!best || poll.assigned.length < best.assigned.length) best = poll;
    }
    return best;
  }
}
