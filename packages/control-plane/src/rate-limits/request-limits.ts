import type { Clock } from '../ports/clock.js';
import type { ProjectLimitsLedger } from '../ports/project-limits.js';
import { type BucketState, TokenBucket } from './token-bucket.js';

/** A change of limits is seen by every process within this. */
const FRESH_MS = 5_000;

interface Entry {
  bucket: TokenBucket | null;
  readAtMs: number;
}

/** How many requests each project may make. Each process counts for itself: what it is asked is what it must carry. */
export class RequestLimits {
  readonly #ledger: Pick<ProjectLimitsLedger, 'getProjectLimits'>;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();

  constructor(params: { ledger: Pick<ProjectLimitsLedger, 'getProjectLimits'>; clock: Clock }) {
    this.#ledger = params.ledger;
    this.#clock = params.clock;
  }

  /** `null` for a project without a limit. A ledger that does not answer limits nobody: the request will find out. */
  async take(projectId: string, options: { overdraw: boolean }): Promise<BucketState | null> {
    const bucket = await this.#bucketOf(projectId);
    return bucket === null ? null : bucket.take(this.#clock.nowMs(), options);
  }

  async #bucketOf(projectId: string): Promise<TokenBucket | null> {
    const nowMs = this.#clock.nowMs();
    const known = this.#entries.get(projectId);
    if (known !== undefined && nowMs - known.readAtMs < FRESH_MS) return known.bucket;
    // Others go on with what is known while one request asks.
    if (known !== undefined) known.readAtMs = nowMs;
    const perMinute = await this.#perMinute(projectId);
    if (perMinute === undefined) return known?.bucket ?? null;
    const kept = known?.bucket?.perMinute === perMinute ? known.bucket : null;
    const bucket = perMinute === null ? null : (kept ?? new TokenBucket(perMinute, nowMs));
    // Another first request may have been quicker.
    const current = this.#entries.get(projectId) ?? { bucket, readAtMs: nowMs };
    if (known !== undefined) current.bucket = bucket;
    this.#entries.set(projectId, current);
    return current.bucket;
  }

  async #perMinute(projectId: string): Promise<number | null | undefined> {
    try {
      return (await this.#ledger.getProjectLimits({ projectId })).requestsPerMinute;
    } catch {
      return undefined;
    }
  }
}
