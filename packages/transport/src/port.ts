import type { Offer } from '@batch-infer/contracts/runner-protocol';

/**
 * How offers travel from the control plane to the runners. The transport is not trusted (I4): it may lose, double,
 * reorder and delay; the ledger decides. Implementations: `direct` (long poll), `kafka`, and the chaos transport of
 * the testkit; all run `transportConformance`.
 */
export interface OfferPublisher {
  /**
   * Hands offers over. Resolves when the transport has taken them; rejects when it could not within its own deadline
   * (the sweeper offers again).
   */
  publish(params: { offers: readonly Offer[]; signal?: AbortSignal }): Promise<void>;
  /**
   * Of transports that know who waits (direct): the dispatcher takes offers from the ledger only as they are wanted.
   * Absent: the dispatcher publishes up to its window in each lane (I8).
   */
  readonly demand?: OfferDemand;
  /**
   * Of transports that keep something at a broker for each lane (Kafka). With it, offers of different lanes are published
   * each in a call of its own: a lane that fails or is slow is then nobody else's trouble.
   */
  readonly lanes?: OfferLanes;
  /** `up`, or why offers do not travel now, for readiness and `waiting_for`. */
  health(): TransportHealth;
  close(): Promise<void>;
}

export interface OfferLanes {
  /** Lanes of a model without offers for this long may be removed, in milliseconds; `null`: never. */
  readonly idleMs: number | null;
  /**
   * Makes the lanes of these models now: for when a runner appears, instead of at its first offer. A model that fails does
   * not keep the others waiting; rejects when any failed.
   */
  prepare(params: { models: readonly string[] }): Promise<void>;
  /** Removes the lanes of these models with what is in them. They are made again when they are needed. */
  remove(params: { models: readonly string[] }): Promise<void>;
  /** Lanes that did not take their last offers. */
  problems(): readonly LaneProblem[];
}

export interface LaneProblem {
  /** `<priority>/<model>`. */
  readonly lane: string;
  readonly model: string;
  readonly reason: string;
  /** When it began, in epoch milliseconds. */
  readonly sinceMs: number;
  /** True while the next try would come too soon: no offers should be published to it. */
  readonly waits: boolean;
}

export interface OfferDemand {
  /** Who waits now and how many offers each would take, longest waiting first. */
  waiting(): readonly WaitingRunner[];
  /** Calls back whenever somebody begins to wait. */
  onWaiting(listener: () => void): void;
  /** Calls back with offers that were handed over but cannot have arrived. */
  onReturned(listener: (offers: readonly Offer[]) => void): void;
  /** The last offers handed to a runner that is dead now, claimed or not; they are forgotten here. */
  handedTo(runnerId: string): readonly Offer[];
}

export interface WaitingRunner {
  readonly runnerId: string;
  readonly models: readonly string[];
  /** It takes offers of this project only; `null` or absent: of all. */
  readonly projectId?: string | null;
  readonly max: number;
}

export interface OfferSubscription {
  /**
   * Stops and starts delivery: a full runner pauses. Takes effect for offers not yet handed to the handler. Idempotent.
   */
  pause(): void;
  /** Also ends the waits between deliveries and between questions: whoever resumes has room, and news, now. */
  resume(): void;
  health(): TransportHealth;
  /** Leaves the group. Offers whose handler has not answered may be delivered again, to anybody. */
  close(): Promise<void>;
}

export interface OfferSubscriber {
  /**
   * Delivers the offers of these models to `handle`, until closed. Starts delivering at once unless `paused`.
   * Lanes of all three priorities are read, higher ones first where the transport can.
   */
  subscribe(params: {
    models: readonly string[];
    handle: OfferHandler;
    paused?: boolean;
  }): Promise<OfferSubscription>;
}

/**
 * Must answer in milliseconds: it claims and hands the shard on, it does not run it. It never throws.
 * - `taken`: claimed, or refused for good: the transport may forget the offer (I7).
 * - `busy`: not now: the transport keeps the offer, pauses, and delivers it again after `retryAfterMs`.
 */
export type OfferHandler = (
  offer: Offer,
) => Promise<{ outcome: 'taken' } | { outcome: 'busy'; retryAfterMs: number }>;

export interface TransportHealth {
  readonly state: 'up' | 'degraded' | 'down';
  readonly reason: string | null;
}
