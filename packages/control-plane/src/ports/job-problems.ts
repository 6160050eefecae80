import type { InputError, JobState } from '@batch-infer/contracts';
import type { JobProblem } from './records.js';

/** Jobs that cannot be planned or finalized: what is wrong, when they are tried again, and their end. */
export interface JobProblemLedger {
  /**
   * Counts a failed try to plan (a job without shards) or to finalize (a `finalizing` job), gives up the claim on it, and
   * keeps everybody away from it until `retryAtMs`. `own`: the job itself is to blame. `null` when the job is in another
   * state by now, or somebody else has the claim.
   */
  recordProblem(params: {
    jobId: string;
    owner: string;
    code: JobProblem['code'];
    message: string;
    own: boolean;
    retryAtMs: number;
    nowMs: number;
  }): Promise<JobProblem | null>;
  /**
   * `finalizing` → terminal without files, with an entry that says why; what was never run is counted by the job's
   * reason. False when the claim was lost.
   */
  giveUpJob(params: {
    jobId: string;
    owner: string;
    state: JobState;
    error: InputError;
    nowMs: number;
  }): Promise<boolean>;
}
