import type { Clock } from '../ports/clock.js';
import type { ProjectLimits, ProjectLimitsLedger } from '../ports/project-limits.js';
import { QueuedTokens, type TokenState } from './queued-tokens.js';
import { RecentValues } from './recent-values.js';
import { SharedBucket } from './shared-bucket.js';
import { type BucketState, type RequestBucket, TokenBucket } from './token-bucket.js';

/** A change of limits is seen by every process within this. */
const FRESH_MS = 5_000;

/** Where a project stands with what its requests are told about; `null`: not limited. */
export interface Standing {
  readonly requests: BucketState | null;
  readonly tokens: TokenState | null;
}

/** How many requests each project may make, over all processes that share the ledger. */
export class RequestLimits {
  readonly #ledger: ProjectLimitsLedger;
  readonly #clock: Clock;
  readonly #shared: boolean;
  readonly #limits: RecentValues<ProjectLimits>;
  readonly #tokens: QueuedTokens;
  readonly #buckets = new Map<string, RequestBucket>();

  /** @param params.shared other processes answer requests of the same projects, on the same ledger */
  constructor(params: { ledger: ProjectLimitsLedger; clock: Clock; shared: boolean }) {
    this.#ledger = params.ledger;
    this.#clock = params.clock;
    this.#shared = params.shared;
    const read = (projectId: string) => params.ledger.getProjectLimits({ projectId });
    this.#limits = new RecentValues({ read, freshMs: FRESH_MS, clock: params.clock });
    this.#tokens = new QueuedTokens(params);
  }

  /** Counts a request. A ledger that does not answer limits nobody: the request will find out. */
  async take(projectId: string, options: { overdraw: boolean }): Promise<Standing> {
    const limits = await this.#limits.get(projectId).catch(() => this.#limits.last(projectId));
    const bucket = this.#bucketOf(projectId, limits?.requestsPerMinute ?? null);
    const maxTokens = limits?.maxQueuedTokens ?? null;
    return {
      requests: bucket === null ? null : await bucket.take(this.#clock.nowMs(), options),
      tokens: maxTokens === null ? null : await this.#tokens.stateOf(projectId, maxTokens),
    };
  }

  #bucketOf(projectId: string, perMinute: number | null): RequestBucket | null {
    const known = this.#buckets.get(projectId);
    if (perMinute === null) {
      this.#buckets.delete(projectId);
      return null;
    }
    if (known?.perMinute === perMinute) return known;
    const bucket = this.#shared
      ? new SharedBucket({ projectId, perMinute, ledger: this.#ledger })
      : new TokenBucket(perMinute, this.#clock.nowMs());
    this.#buckets.set(projectId, bucket);
    return bucket;
  }
}
