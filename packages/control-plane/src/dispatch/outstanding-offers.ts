const REMEMBERED_WITHDRAWN = 10_000;

/**
 * Offers published by this process that nobody has claimed yet, until they are stale: what bounds a lane when offers
 * travel directly (I8).
 */
export class OutstandingOffers {
  readonly #ttlMs: number;
  /** Oldest first. */
  readonly #byShard = new Map<string, { lane: string; offeredAtMs: number }>();
  readonly #byLane = new Map<string, number>();
  /** Shards whose offers were taken back before anybody claimed them. */
  readonly #withdrawn = new Set<string>();

  constructor(params: { ttlMs: number }) {
    this.#ttlMs = params.ttlMs;
  }

  add(params: { shardId: string; lane: string; nowMs: number }): void {
    this.remove(params.shardId);
    this.#withdrawn.delete(params.shardId);
    this.#byShard.set(params.shardId, { lane: params.lane, offeredAtMs: params.nowMs });
    this.#byLane.set(params.lane, this.count(params.lane) + 1);
  }

  remove(shardId: string): void {
    const offer = this.#byShard.get(shardId);
    if (!offer) return;
    this.#byShard.delete(shardId);
    const left = this.count(offer.lane) - 1;
    // Lanes are as many as model names: those without offers are not remembered.
    if (left > 0) this.#byLane.set(offer.lane, left);
    else this.#byLane.delete(offer.lane);
  }

  /** The offer did not arrive: the shard is paid for, whoever is offered it next. */
  withdraw(shardId: string): void {
    if (!this.#byShard.has(shardId)) return;
    this.remove(shardId);
    this.#withdrawn.add(shardId);
    for (const oldest of this.#withdrawn) {
      if (this.#withdrawn.size <= REMEMBERED_WITHDRAWN) break;
      this.#withdrawn.delete(oldest);
    }
  }

  isWithdrawn(shardId: string): boolean {
    return this.#withdrawn.has(shardId);
  }

  /** Forgets what is stale: those shards are offered again. */
  forgetStale(nowMs: number): void {
    for (const [shardId, offer] of this.#byShard) {
      if (offer.offeredAtMs > nowMs - this.#ttlMs) return;
      this.remove(shardId);
    }
  }

  count(lane: string): number {
    return this.#byLane.get(lane) ?? 0;
  }
}
