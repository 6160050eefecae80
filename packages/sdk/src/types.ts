import type { Endpoint, ItemStatus, JobState, JobStatus, Priority } from '@batch-infer/contracts';
import type { WebhookEventType as WireEventType } from '@batch-infer/contracts/webhooks';
import type { InputProblem } from './errors.js';

export type { Endpoint, ItemStatus, JobStatus, Priority };
/** The finer state behind a job's status. */
export type JobPhase = JobState;

/** Items of a job by state; they sum up to `total`. */
export interface JobCounts {
  readonly total: number;
  readonly queued: number;
  readonly running: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly expired: number;
}

/** Tokens, as the engine counted them. */
export interface Usage {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
}

/** Failures of a job that share code and message. */
export interface ErrorGroup {
  readonly code: string;
  readonly message: string;
  readonly count: number;
  readonly sample: { readonly index: number; readonly customId: string };
}

/** A job as the server described it at one moment. */
export interface Job {
  readonly id: string;
  readonly status: JobStatus;
  readonly phase: JobPhase;
  /** Held back by `pause()`; its completion window goes on. */
  readonly paused: boolean;
  readonly endpoint: string | null;
  readonly models: readonly string[];
  readonly priority: Priority;
  readonly counts: JobCounts;
  /** Of the succeeded items, those that took over the answer of an earlier job (`reuse: 'project'`). */
  readonly reusedItems: number;
  readonly progress: {
    readonly itemsPerSecond: number;
    readonly outputTokensPerSecond: number;
    /** `null` while there is no measured rate. */
    readonly etaSeconds: number | null;
  };
  readonly queue: {
    readonly position: number | null;
    /** Why the job does not go on, or goes on slowly. */
    readonly waitingFor: readonly { readonly code: string; readonly message: string }[];
  };
  readonly usage: Usage;
  /** Failures grouped by code and message. */
  readonly errors: readonly ErrorGroup[];
  /** Bad lines of a refused input, at most 100, in order. */
  readonly inputErrors: readonly InputProblem[];
  readonly inputFileId: string | null;
  readonly outputFileId: string | null;
  readonly errorFileId: string | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  readonly expiresAt: Date;
  readonly completionWindow: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** The webhook that it was made with; its secret is shown to nobody. */
  readonly webhook: Required<Omit<JobWebhook, 'secret'>> | null;
}

/** What an input would be as a job. */
export interface JobPlan {
  readonly items: number;
  /** Items by model. */
  readonly models: Readonly<Record<string, number>>;
  readonly shards: number;
  readonly inputBytes: number;
}

/** Why an item did not succeed. */
export interface ItemError {
  readonly code: string;
  readonly type: string;
  readonly message: string;
  /** True when the same item may succeed if it is run again (`retryFailed`). */
  readonly retryable: boolean;
}

interface ItemResultBase {
  /** 0-based place in the input. */
  readonly index: number;
  readonly customId: string;
  /** 0 for an item that took over an answer, and for one that was never run. */
  readonly attempts: number;
  /** Milliseconds at the engine. */
  readonly latencyMs: number | null;
  /** HTTP status of the engine's answer; `null` when there was none. */
  readonly statusCode: number | null;
  /** Request id that the engine was given; `null` for an item that was never run. */
  readonly requestId: string | null;
  /** Id of the job that ran the request, where an earlier job's answer was taken over. */
  readonly reusedFrom: string | null;
  /** With `order: 'completion'`: pass it as `after` to go on behind this item. */
  readonly cursor: string | null;
}

/** The one end of an item. A failed item is a value, never an exception. */
export type ItemResult =
  | (ItemResultBase & {
      readonly ok: true;
      readonly status: 'succeeded';
      /** The engine's body, unchanged. */
      readonly response: unknown;
      readonly usage: Usage | null;
    })
  | (ItemResultBase & {
      readonly ok: false;
      readonly status: 'failed' | 'cancelled' | 'expired';
      readonly error: ItemError;
      /** The engine's own error body in OpenAI's form, when it refused the request with one; else `null`. */
      readonly errorBody: unknown;
    });

/** What `wait` reports while a job goes on. */
export interface Progress {
  readonly job: Job;
  /** Items that have ended, failed ones included. */
  readonly completed: number;
  /** Of those, the ones that did not succeed. */
  readonly failed: number;
  readonly total: number;
  readonly itemsPerSecond: number;
  readonly tokensPerSecond: number;
  readonly etaSeconds: number | null;
}

/** Options of every call. */
export interface RequestOptions {
  /** Time for one attempt, from sending to the end of the answer. Default: the client's. */
  readonly timeoutMs?: number;
  /** Retries after the first attempt. Default: the client's. */
  readonly maxRetries?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What a webhook tells of: ends of jobs, in OpenAI's words. */
export type WebhookEventType = WireEventType;

/** A receiver of one job's end. */
export interface JobWebhook {
  /** `https://` or `http://`, at an address that is public or that the operator allows. */
  readonly url: string;
  /** Default: every end. */
  readonly events?: readonly WebhookEventType[];
  /** `whsec_…`, to verify the signature. Default: the project's own, `client.webhooks.secret()`. */
  readonly secret?: string;
}

/** Options of a job, the same for every way of handing work over. */
export interface JobOptions {
  /** Endpoint of items that name none. Default: `/v1/chat/completions`. */
  readonly endpoint?: Endpoint;
  /** Model of bodies that name none. */
  readonly model?: string;
  /** `"24h"` by default; `"1m"` to `"30d"`. What has not ended by then is `expired`. */
  readonly completionWindow?: string;
  /** `normal` by default. */
  readonly priority?: Priority;
  /** Time for one attempt at one item, in milliseconds. Default 600,000. */
  readonly itemTimeoutMs?: number;
  /** Attempts at one item. Default 3. */
  readonly maxAttempts?: number;
  /** Share of failed items, 0 to 1, beyond which the rest of the job is not run. */
  readonly maxErrorRate?: number;
  /** Merged under each body: a body's own keys win. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /**
   * `auto` (default): items run in the order in which engines get through them fastest. `input`: as they stand in the
   * input. Results come in input order either way.
   */
  readonly planOrder?: 'auto' | 'input';
  /**
   * `job`: identical requests of the job whose answer is determined (temperature 0, a seed, embeddings) may be run once,
   * for all of them. `project`: also, answers of earlier jobs of the project that said so are taken over. `none`
   * (default): every item runs.
   */
  readonly reuse?: 'none' | 'job' | 'project';
  /** With `reuse: 'project'`: how old an answer may be, in seconds. Default 86,400, a day. */
  readonly reuseMaxAgeSeconds?: number;
  /** At most 16 pairs. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Who is told of the job's end, by a signed POST: see `client.webhooks`. */
  readonly webhook?: JobWebhook;
  /** How long the results are kept after the job's end. Default: the server's. */
  readonly outputExpiresAfterSeconds?: number;
}

export interface SubmitOptions extends JobOptions, RequestOptions {
  /**
   * Makes the call safe to repeat, across processes: the same key with the same content gives the same job. 1 to 255
   * visible characters. Without it, every call has a random key that protects its own retries only.
   */
  readonly idempotencyKey?: string;
}

/** A request of a job. Lines of OpenAI's batch files (`custom_id`, `method`, `url`, `body`) pass as they are. */
export interface JobItem {
  /** Your name for it, unique in the job. Default: its index. */
  readonly customId?: string;
  /** The same, as OpenAI's batch lines spell it. */
  readonly custom_id?: string;
  readonly method?: 'POST';
  /** Endpoint, where it differs from the job's. */
  readonly url?: Endpoint;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A page of a list. */
export interface Page<Item> {
  readonly data: readonly Item[];
  readonly hasMore: boolean;
  /** Pass it as `cursor` for the next page. */
  readonly nextCursor: string | null;
}

/** A live runner, as it last reported. */
export interface Runner {
  readonly id: string;
  readonly models: readonly string[];
  readonly engines: readonly RunnerEngine[];
  readonly freeSlots: number;
  readonly inFlight: number;
  readonly itemsPerSecond: number;
  readonly version: string;
  readonly lastSeenAt: Date;
}

/** An engine behind a runner. */
export interface RunnerEngine {
  readonly id: string;
  readonly models: readonly string[];
  readonly healthy: boolean;
  /** Requests kept in flight at most. */
  readonly window: number;
  readonly inFlight: number;
  /** Why it takes no work. */
  readonly problem: string | null;
  /** For how long that has been so, in milliseconds; `null` when the runner does not say. */
  readonly problemMs: number | null;
}

/** A model that some live runner serves. */
export interface Model {
  readonly id: string;
  readonly created: number;
  readonly ownedBy: string;
}
