import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';

/** Whose key a runner shows. */
export interface RunnerIdentity {
  /** `null`: the control plane has no keys. */
  readonly keyId: string | null;
  /** The one project that it serves; `null`: all. */
  readonly projectId: string | null;
}

/** A runner of a control plane without keys. */
export const ANY_RUNNER: RunnerIdentity = { keyId: null, projectId: null };

/** A runner as it last reported. */
export interface RunnerRecord {
  readonly report: RunnerReport;
  readonly lastSeenAtMs: number;
  /** The one project that it serves; `null`: all. */
  readonly projectId: string | null;
}

/** True where the lease's holder is not known, or nobody has keys. */
export const isHolder = (holderKeyId: string | null, keyId: string | null): boolean =>
  holderKeyId === null || keyId === null || holderKeyId === keyId;

/** Whether a runner serves the project's jobs. */
export const servesProject = (runner: Pick<RunnerRecord, 'projectId'>, projectId: string): boolean =>
  runner.projectId === null || runner.projectId === projectId;

/** The part of the ledger that knows the runners. */
export interface RunnerLedger {
  /**
   * Keeps a runner's report. `taken`: a runner of this id was seen after `liveAfterMs` with another key, which is neither
   * the predecessor of this one nor absent. `full`: the reports of its project would have more than `projectBytes`.
   */
  saveRunner(params: {
    report: RunnerReport;
    identity?: RunnerIdentity;
    liveAfterMs?: number;
    projectBytes?: number;
    nowMs: number;
  }): Promise<'saved' | 'taken' | 'full'>;
  removeRunner(params: { runnerId: string }): Promise<void>;
  /** With `projectId` only those that serve it. */
  listRunners(params: { seenAfterMs: number; projectId?: string | null }): Promise<RunnerRecord[]>;
}
