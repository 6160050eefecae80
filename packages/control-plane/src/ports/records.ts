import {
  type EndReason,
  type InputError,
  type ItemError,
  type JobState,
  LIMITS,
  type Mask,
  type Priority,
} from '@batch-infer/contracts';
import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import type { JobOptions } from '@batch-infer/contracts/native';

/** Rows of the ledger as the rest of the control plane sees them. Times are epoch milliseconds. */

export interface FileRecord {
  readonly id: string;
  readonly projectId: string;
  readonly purpose: string;
  readonly filename: string;
  readonly bytes: number;
  readonly sha256: string | null;
  readonly blobKey: string;
  /** Present on scanned input files. */
  readonly summary: ScanSummary | null;
  /** True for inputs handed over with the job itself: listed nowhere, gone with the job. */
  readonly internal: boolean;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
}

export interface UsageTotals {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
}

export interface ErrorGroup {
  readonly code: string;
  readonly message: string;
  readonly count: number;
  readonly sample: { readonly index: number; readonly custom_id: string };
}

/** What keeps a job from being planned or finalized; it is tried again until it works or is given up. */
export interface JobProblem {
  readonly code: 'plan_failed' | 'finalize_failed';
  /** A sentence for people, without a full stop at its end; no prompts, no answers. */
  readonly message: string;
  /** Since when it fails without a success in between. */
  readonly sinceMs: number;
  readonly tries: number;
  /** Those of the tries for which the job itself is to blame: the store and the ledger were well. */
  readonly ownTries: number;
}

export interface JobRecord {
  readonly id: string;
  readonly projectId: string;
  readonly state: JobState;
  /** Dialect it came in by: which fields of other dialects make sense. */
  readonly dialect: 'native' | 'openai' | 'anthropic';
  readonly inputFileId: string;
  readonly inputBlobKey: string;
  /** The object that holds its lines in plan order; absent while plan order is input order. */
  readonly workBlobKey?: string;
  /** The object with the `custom_id`s of its items that were never run; absent while there are none. */
  readonly idsBlobKey?: string;
  readonly options: JobOptions;
  readonly models: readonly string[];
  readonly priority: Priority;
  readonly completionWindow: string;
  readonly total: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Of the succeeded ones, those that took over an earlier job's answer. */
  readonly reused: number;
  /** Set at the end: items that were never run. */
  readonly cancelled: number;
  readonly expired: number;
  readonly usage: UsageTotals;
  readonly errorGroups: readonly ErrorGroup[];
  readonly inputErrors: readonly InputError[];
  /** Since when nothing of it may start; `null` when it is not held back. */
  readonly pausedAtMs: number | null;
  /** Why it is being ended; `null` while it runs. */
  readonly endReason: EndReason | null;
  /** `null` while nothing keeps it from being planned or finalized. */
  readonly problem: JobProblem | null;
  /** When it was cancelled while its finalization failed: the next failure ends it. */
  readonly giveUpAtMs: number | null;
  readonly outputFileId: string | null;
  readonly errorFileId: string | null;
  /** Grows with every change that a reader could see: the ETag. */
  readonly version: number;
  readonly createdAtMs: number;
  readonly queuedAtMs: number | null;
  readonly startedAtMs: number | null;
  readonly finalizingAtMs: number | null;
  readonly cancellingAtMs: number | null;
  readonly finishedAtMs: number | null;
  readonly expiresAtMs: number;
}

/** Jobs of one shard at most take next to nothing to plan and to end: they never wait behind larger ones. */
export const isSmallJob = ({ total }: Pick<JobRecord, 'total'>): boolean => total <= LIMITS.shardItems;

export type ShardState = 'ready' | 'leased' | 'done' | 'split' | 'stopped';

export interface ShardRecord {
  readonly id: string;
  readonly jobId: string;
  readonly projectId: string;
  /** Position of the original shard in the job; halves of a bisected shard keep it. At most 256 items share it. */
  readonly ordinal: number;
  /** Work-file position of the first item; equal to its index while plan order is input order. */
  readonly first: number;
  /**
   * Input index of each of its items, where plan order is another order. From `claimShard`, `getShard` and `listShards`;
   * see `plan/positions.ts`.
   */
  readonly indexes?: Uint32Array;
  readonly count: number;
  readonly offset: number;
  readonly bytes: number;
  /** Items at the start of the byte range that belong to another part of a bisected shard; 0 on a whole shard. */
  readonly skip: number;
  readonly model: string;
  readonly priority: Priority;
  readonly state: ShardState;
  readonly epoch: number;
  readonly doneMask: Mask;
  readonly badMask: Mask;
  readonly lostLeases: number;
  readonly runnerId: string | null;
  /** API key with which its last lease was claimed; `null`: without any, or not known. */
  readonly holderKeyId: string | null;
  readonly leaseUntilMs: number | null;
  readonly offeredAtMs: number | null;
}

export interface SegmentRecord {
  readonly jobId: string;
  /** Grows by one with every settle of the job: completion order, and the cursor of readers. */
  readonly sequence: number;
  readonly shardId: string;
  readonly ordinal: number;
  readonly blobKey: string;
  readonly bytes: number;
  readonly first: number;
  /** Input indexes of the items from `first` on, where plan order is another order. */
  readonly indexes?: Uint32Array;
  /**
   * Items that this segment decided, as positions from `first`. Lines of other items are to be skipped, and so are
   * second lines of the same item.
   */
  readonly decided: Mask;
  readonly settledAtMs: number;
}

/** What `settle` tells the ledger of one ended item. */
export interface ItemOutcome {
  /** In the input, whatever the plan. */
  readonly index: number;
  readonly customId: string;
  readonly ok: boolean;
  readonly error: ItemError | null;
  readonly usage: UsageTotals | null;
}
