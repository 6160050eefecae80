import type { ModelGauges } from './model-types.js';

/** A request as the service behind the HTTP server sees it. */
export interface BackendJob {
  readonly id: string;
  readonly promptText: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly priority: number;
  /** The service takes this many times as long (a fault). */
  readonly slowFactor: number;
  /** In [0, 1): where in the range of the jitter this request lies. */
  readonly jitterUnit: number;
  readonly onDone: (result: BackendResult) => void;
}

export interface BackendResult {
  readonly cachedTokens: number;
  readonly queueTimeMs: number;
  readonly timeToFirstTokenMs: number;
}

/** Told the number of running jobs whenever it has grown. */
export type OnRunning = (running: number) => void;

/** What serves the requests: slots with a service time, or the step model in real time. */
export interface Backend {
  submit(job: BackendJob): void;
  /** Forgets a job whose client went away; its place is free at once. */
  abort(id: string): void;
  gauges(): ModelGauges;
  /** The gauges as `/metrics` shows them, which may be behind. */
  reportedGauges(): ModelGauges;
  setKvShare(share: number): void;
  freeze(): void;
  thaw(): void;
  /** Drops everything; the backend is not used again. */
  stop(): void;
}
