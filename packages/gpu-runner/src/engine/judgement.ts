import type { EngineCall } from './client.js';
import type { Target } from './prober.js';
import type { Decided, ProbeResult } from './standing.js';

/** How a failed request is to be taken. */
export interface Blame {
  /** The engine was down or going down: the item is not charged. */
  readonly excused: boolean;
  /** It died while it ran the item. */
  readonly engineDied: boolean;
}

/** A request on its way. */
export interface Sent {
  readonly call: EngineCall;
  readonly target: Target;
  readonly atMs: number;
  /** It is one of the few that show whether the engine works again. */
  readonly trial: boolean;
}

/** How a request ended, as the engine that was sent it sees it. */
export interface Judgement {
  readonly blame: Promise<Blame>;
  /** Says what the failed answer means, should it end the item: see `RefusalMeaning`. `null`: nothing is to be found out. */
  readonly meaning: ((earlier: number) => Promise<Decided>) | null;
  /** It had no room for this item, though it had for others since the last time. */
  readonly alone: boolean;
}

export const TRANSPORT_FAILURES: ReadonlySet<string> = new Set([
  'engine_unreachable',
  'connection_lost',
  'engine_aborted',
]);
export const BREAKER_FAILURES: ReadonlySet<string> = new Set([
  ...TRANSPORT_FAILURES,
  ...['engine_error', 'item_timeout', 'invalid_response'],
]);

export const INNOCENT: Blame = { excused: false, engineDied: false };
/** It answers, if with a refusal: what it refuses is found out by route and model. */
export const isRefusal = (result: ProbeResult): boolean =>
  result.outcome === 'failed' &&
  !BREAKER_FAILURES.has(result.failure.code) &&
  result.failure.code !== 'engine_overloaded';
