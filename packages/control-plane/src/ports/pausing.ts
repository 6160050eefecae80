import type { JobRecord } from './records.js';

/** The part of the ledger that holds jobs back. */
export interface PauseLedger {
  /**
   * Holds a job back or lets it go on; idempotent. While it is paused no shard of it is offered or claimed, and its
   * leases are answered `stop`; outstanding offers of it are withdrawn. `ending`: it is about to end, and stays as it
   * is; `ended`. `null` for an unknown job.
   */
  setPaused(params: {
    projectId: string;
    id: string;
    paused: boolean;
    nowMs: number;
  }): Promise<{ outcome: 'changed' | 'unchanged' | 'ending' | 'ended'; job: JobRecord } | null>;
}
