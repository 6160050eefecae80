import type { FaultAction, FaultRule } from './faults.js';
import type { ModelOptions } from './model-types.js';

export interface EngineSimOptions {
  /** Default 0, which takes a free port. */
  readonly port?: number;
  /** Served model names. Default `['sim-model']`. */
  readonly models?: readonly string[];
  /** Context window in tokens (four characters are a token). Default 32768. */
  readonly maxModelLen?: number;
  /**
   * `slots`: each request holds one of `slots` places for `serviceTimeMs`, others wait in order of arrival.
   * `step`: the step model of vLLM's scheduler, in real time. Default `slots`.
   */
  readonly mode?: 'slots' | 'step';
  /** Default 64. */
  readonly slots?: number;
  /** Default 200. 0 answers at once. */
  readonly serviceTimeMs?: number;
  /** Service times vary by this share up and down, fixed by seed, body and attempt. Default 0.2. */
  readonly jitter?: number;
  /** The engine of `step` mode; its block counts also fill `/metrics` in `slots` mode. */
  readonly step?: Partial<ModelOptions>;
  /** Real milliseconds for one of the model's in `step` mode. Default 1; 0.1 is ten times as fast. */
  readonly timeScale?: number;
  /** `--max-num-queued-reqs`: more waiting requests than this are answered with 503. Default no limit. */
  readonly maxQueuedRequests?: number;
  /** Tokens of an answer, cut by the request's own limit. A body's `sim_output_tokens` wins. Default 16. */
  readonly outputTokens?: number;
  /** Pads the echo to this many characters. Default: the bare echo. */
  readonly outputCharacters?: number;
  /** `cached_tokens` in `slots` mode, at most the prompt. Default 0. */
  readonly cachedTokens?: number;
  /** Endpoints that it answers with 404, as servers without them do. Default none. */
  readonly missingEndpoints?: readonly string[];
  /** Answers 401 under `/v1` without this bearer token. Default none. */
  readonly apiKey?: string;
  readonly faults?: readonly FaultRule[];
  /** Seed of jitter, of `rate` in faults, and of the model. Default 1. */
  readonly seed?: number;
  /** Keeps one record for each distinct body. Default true; turn off for millions of items. */
  readonly requestLog?: boolean;
  /** Called for every well-formed request before it is served; an action returned is done as by a matching rule. */
  readonly onRequest?: (request: SimRequest) => FaultAction | undefined;
  /** Called after a `die` fault took the server down, with whether it will come back by itself. */
  readonly onDie?: (revives: boolean) => void;
}

export interface SimRequest {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  /** Hex SHA-1 of the body's bytes. */
  readonly bodyHash: string;
  /** 1 when this body is seen for the first time. Always 1 without a request log. */
  readonly attempt: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** What happened to one distinct request body. */
export interface SimRequestRecord {
  readonly bodyHash: string;
  /** First 40 characters of the last user text, to tell requests apart. */
  readonly marker: string;
  readonly received: number;
  /** Times it was answered whole with 200 and without a fault. Above 1: work was done twice. */
  readonly completed: number;
  /** Epoch milliseconds. */
  readonly firstReceivedAt: number;
  readonly lastReceivedAt: number;
}

export interface SimStats {
  /** Well-formed generation requests that arrived. */
  readonly received: number;
  /** Answered whole with 200 and without a fault. */
  readonly completed: number;
  /** Given up by the client before the answer, or lost when the engine was killed. */
  readonly aborted: number;
  /** Answered by a fault or with an error status. */
  readonly failed: number;
  readonly running: number;
  readonly waiting: number;
  readonly maxRunning: number;
  /** Requests that have arrived and not ended, hanging ones included. */
  readonly inFlight: number;
  /** Epoch milliseconds; null before the first request. */
  readonly lastRequestAt: number | null;
  /** Epoch milliseconds since when nothing is in flight; null while something is. */
  readonly idleSince: number | null;
}

/** Lies told by `/metrics`. */
export type MetricsFault =
  | { readonly kind: 'none' }
  /** The text stays as it was when this was set. */
  | { readonly kind: 'stale' }
  /** 404, as on servers without metrics. */
  | { readonly kind: 'missing' }
  /** Running and waiting are shown times this. */
  | { readonly kind: 'scaled'; readonly factor: number };

export interface EngineSim {
  /** `http://127.0.0.1:PORT`, without `/v1`. */
  readonly url: string;
  readonly port: number;
  stats(): SimStats;
  /** One record for each distinct body, in order of arrival. Empty when the request log is off. */
  requests(): readonly SimRequestRecord[];
  /** Replaces the fault script; counters of `times` and `everyNth` start again. */
  setFaults(rules: readonly FaultRule[]): void;
  setMetricsFault(fault: MetricsFault): void;
  /** Status that `/health` answers. Default 200. */
  setHealth(status: number): void;
  /** Shrinks usable KV memory to this share (`step` mode). */
  setKvShare(share: number): void;
  /** Stops answering anything, like a stopped process: connections are still accepted by the kernel. */
  freeze(): void;
  /** Goes on where `freeze` stopped. */
  thaw(): void;
  /** Resets every open connection; the port stays open. */
  killConnections(): void;
  /** Closes the port and resets every connection; requests in flight are lost. */
  kill(): Promise<void>;
  /** Opens the same port again with an empty engine. Statistics and the request log go on. */
  revive(): Promise<void>;
  /** Ends the server for good. */
  close(): Promise<void>;
}
