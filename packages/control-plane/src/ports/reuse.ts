import type { Mask } from '@batch-infer/contracts';

/**
 * What a job's requests are known by: a key of 16 bytes for each item in input order, zeros where the answer is not
 * determined by the request. A few stand in the row, many in an object.
 */
export type ReuseKeys =
  | { readonly bytes: Uint8Array; readonly blobKey: null }
  | { readonly bytes: null; readonly blobKey: string };

/** A job whose answers may be taken over. */
export interface ReuseIndex {
  readonly jobId: string;
  readonly items: number;
  readonly keys: ReuseKeys;
}

/** An object with answers that a job took over, already stored: a segment like those of runners. */
export interface ReusedSegment {
  /** The shard, by its place in the plan. */
  readonly ordinal: number;
  readonly blobKey: string;
  readonly bytes: number;
  /** Which items of the shard it holds, as positions from the shard's first. All of them succeeded. */
  readonly decided: Mask;
}

/** What a plan brings along besides its shards when the job shares answers with others of its project. */
export interface PlannedReuse {
  /** `null`: none of its requests determines an answer. */
  readonly keys: ReuseKeys | null;
  readonly segments: readonly ReusedSegment[];
}

/** The part of the ledger that knows whose answers may be taken over. */
export interface ReuseLedger {
  /**
   * Jobs of a project with keys that were created before `beforeJobId`, newest first. Left out are those that ended
   * before `endedAfterMs`, and those whose output was deleted or has expired.
   */
  listReuseIndexes(params: {
    projectId: string;
    beforeJobId: string;
    endedAfterMs: number;
    nowMs: number;
    limit: number;
  }): Promise<ReuseIndex[]>;
}
